"""What is refused at once, with the part named."""

from typing import Any

import msgspec
import pytest

from thespis.actors.preprocessor.validation import RequestValidator, without_ids
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import (
    ChatMessage,
    ChatPrompt,
    Embeds,
    MediaItem,
    PackedEmbeds,
    TextPrompt,
)
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.checkpoints import Checkpoints
from .parts import NOWHERE, chat, config_of, item, load, request


def validator(
    checkpoints: Checkpoints, family: Any = "qwen_omni", **engine: Any
) -> RequestValidator:
    return RequestValidator(config_of(checkpoints(family), **engine))


def refused(rules: RequestValidator, *media: MediaItem, **fields: Any) -> Any:
    with pytest.raises(RequestError) as error:
        rules.check(request(TextPrompt("x"), media, **fields))
    return error.value.failure


@pytest.mark.parametrize("limit", [2, {"count": 2, "width": 512}])
def test_S14_items_per_prompt(checkpoints: Checkpoints, limit: Any) -> None:
    rules = validator(checkpoints, limit_mm_per_prompt={"image": limit})
    rules.check(
        request(TextPrompt("x"), (item(), item(), item("audio"), item("audio"), item("audio")))
    )
    failure = refused(rules, item(), item(), item(where="images[2]"))
    assert failure.text.startswith("At most 2 image(s) may be provided in one prompt.")
    assert "--limit-mm-per-prompt" in failure.text
    assert failure.part == "images[2]"


def test_S14_a_modality_that_the_model_lacks(checkpoints: Checkpoints) -> None:
    failure = refused(
        validator(checkpoints, "llava"), item("audio", where="messages[0].content[1]")
    )
    assert (failure.text, failure.part) == (
        "This model takes no audio input.",
        "messages[0].content[1]",
    )


def test_S36_embeddings_are_off_by_default(checkpoints: Checkpoints) -> None:
    embeds = item(source=Embeds(NOWHERE))
    assert (
        refused(validator(checkpoints), embeds).text
        == "You must set --enable-mm-embeds to input image_embeds"
    )
    validator(checkpoints, enable_mm_embeds=True).check(request(TextPrompt("x"), (embeds,)))


def test_S19_neither_data_nor_id(checkpoints: Checkpoints) -> None:
    empty = MediaItem("image", None, "here")
    text = "multi_modal_data['image'][1] is empty but multi_modal_uuids['image'][1] is missing."
    assert refused(validator(checkpoints), item("audio"), item(), empty).text == text


def test_a_text_that_no_context_holds_is_not_tokenised(checkpoints: Checkpoints) -> None:
    parts = load(checkpoints("qwen_omni"))
    rules = RequestValidator(
        config_of(checkpoints("qwen_omni"), max_model_len=64), parts.tokenizer.longest
    )
    most = 64 * parts.tokenizer.longest
    for fits, prompt in (
        (True, TextPrompt("x" * most)),
        (False, TextPrompt("x" * (most + 1))),
        (False, chat("x" * (most + 1))),
    ):
        if fits:
            rules.check(request(prompt))
        else:
            words = f"characters where at most {most} fit, the model's context is 64 tokens"
            with pytest.raises(RequestError, match=words):
                rules.check(request(prompt))


@pytest.mark.parametrize(
    "fields",
    [
        {"template_kwargs": {"x": "<|im_end|>" * 200_000}},
        {"template_kwargs": {"x": {"y": [["ab"] * 40_000, "c" * 1_000_000]}}},
        {"template_kwargs": {"k" * ((1 << 20) + 1): 1}},
        {
            "tools": (
                {"type": "function", "function": {"name": "f", "description": "d" * (1 << 20)}},
            )
        },
        {
            "tools": ({"function": {"parameters": {"properties": {"p" * (1 << 19): {}}}}},),
            "template_kwargs": {"x": "y" * (1 << 19)},
        },
    ],
)
def test_what_a_template_may_write_beside_messages_is_bounded(
    checkpoints: Checkpoints, fields: dict[str, Any]
) -> None:
    prompt = msgspec.structs.replace(chat("x"), **fields)
    with pytest.raises(RequestError, match="`tools` and `chat_template_kwargs` have") as error:
        validator(checkpoints).check(request(prompt))
    assert error.value.failure.code == "body_too_complex"


def test_the_arguments_of_earlier_calls_count_as_text(checkpoints: Checkpoints) -> None:
    parts = load(checkpoints("qwen_omni"))
    rules = RequestValidator(
        config_of(checkpoints("qwen_omni"), max_model_len=64), parts.tokenizer.longest
    )
    call = {"function": {"name": "f", "arguments": {"text": "x" * 64 * parts.tokenizer.longest}}}
    prompt = ChatPrompt((ChatMessage("assistant", (), {"tool_calls": [call]}),))
    with pytest.raises(RequestError, match="the model's context is"):
        rules.check(request(prompt))


@pytest.mark.parametrize(
    ("cache", "prefix", "ignored"), [(0, False, True), (0, True, False), (4, False, False)]
)
def test_S20_ids_are_ignored_where_nothing_is_kept(
    checkpoints: Checkpoints, cache: float, prefix: bool, ignored: bool
) -> None:
    config = config_of(
        checkpoints("llava"), mm_processor_cache_gb=cache, enable_prefix_caching=prefix
    )
    assert config.ignore_ids is ignored
    asked = request(TextPrompt("x"), (item(uuid="a"), MediaItem("image", None, "here", "b")))
    assert [entry.uuid for entry in without_ids(asked).media] == [None, None]


@pytest.mark.parametrize("beyond", [1 << 20, -1])
@pytest.mark.parametrize(
    "name", ["stop_token_ids", "logit_bias", "allowed_token_ids", "bad_words_ids"]
)
def test_a_callers_own_ids_are_in_the_vocabulary(
    checkpoints: Checkpoints, name: str, beyond: int
) -> None:
    value: Any = {"logit_bias": {beyond: 1.0}, "bad_words_ids": ((3, beyond),)}.get(
        name, (3, beyond)
    )
    failure = refused(validator(checkpoints), sampling=SamplingParams(**{name: value}))
    assert (failure.part, failure.kind) == (name, "invalid_request")
    assert str(beyond) in failure.text


@pytest.mark.parametrize("limit", [0, {"count": 0}])
def test_B12_none_to_be_encoded_leaves_embeddings(checkpoints: Checkpoints, limit: Any) -> None:
    rules = validator(checkpoints, limit_mm_per_prompt={"image": limit}, enable_mm_embeds=True)
    ready, packed = item(source=Embeds(NOWHERE)), item(source=PackedEmbeds(NOWHERE))
    rules.check(
        request(
            TextPrompt("x"),
            (ready, packed, ready, item("video"), MediaItem("image", None, "here", "an id")),
        )
    )
    failure = refused(rules, ready, item(where="raw"))
    assert (failure.part, failure.text[:59]) == (
        "raw",
        "At most 0 image(s) may be provided in one prompt. Raise it ",
    )
    assert refused(
        validator(checkpoints, limit_mm_per_prompt={"image": limit}), ready
    ).text.startswith("At most 0 image(s)")
    few = validator(checkpoints, limit_mm_per_prompt={"image": 1}, enable_mm_embeds=True)
    assert refused(few, ready, ready).text.startswith("At most 1 image(s)")
