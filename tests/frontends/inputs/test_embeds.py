"""B17: prompts as embeddings, as the Python faces and /v1/completions read them."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest

from thespis.frontends.client.admission import estimate_tokens
from thespis.frontends.inputs.embeds import encode_embeds
from thespis.frontends.inputs.prompts import read_prompt
from thespis.frontends.inputs.submission import Submission
from thespis.frontends.openai.requests.chat import parse_chat
from thespis.frontends.openai.requests.common import Generation
from thespis.frontends.openai.requests.completions import parse_completion
from thespis.frontends.openai.requests.schema import ChatRequest, CompletionRequest, decode
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import (
    Embeds,
    EmbedsPrompt,
    PackedEmbeds,
    TextPrompt,
    TokenPrompt,
)
from thespis.protocol.requests.sampling import SamplingParams

ROWS = np.ones((3, 8), np.float32)


def npy(array: Any) -> str:
    file = io.BytesIO()
    np.save(file, array)
    return base64.b64encode(file.getvalue()).decode()


def completion(enabled: bool = True, **body: Any) -> list[Generation]:
    return parse_completion(decode(CompletionRequest, json.dumps(body).encode()), embeds=enabled)


def refused(call: Any, *args: Any, **kwargs: Any) -> Failure:
    with pytest.raises(RequestError) as raised:
        call(*args, **kwargs)
    return raised.value.failure


def source_of(given: Submission) -> Any:
    """Of the only item, as it will stand in shared memory."""
    (item,) = given.media
    raw: Any = item.content  # type: ignore[union-attr]
    return raw.source(BlobRef("nowhere", 0, raw.dtype, raw.shape))


# Python


@pytest.mark.parametrize(
    "rows", [ROWS, ROWS[None], ROWS.astype(np.float16), ROWS.astype(np.float64)]
)
def test_rows_become_the_only_item(rows: Any) -> None:
    made = read_prompt({"prompt_embeds": rows, "prompt": "abc"})
    assert (made.prompt, made.text) == (EmbedsPrompt(), "abc")
    source = source_of(made)
    assert isinstance(source, Embeds)
    assert source.blob.shape == (3, 8)
    assert source.blob.dtype == ("float16" if rows.dtype == np.float16 else "float32")


def test_a_file_of_rows_is_opened_by_nobody_here() -> None:
    made = read_prompt({"prompt_embeds": encode_embeds(ROWS)})
    assert (made.prompt, made.text) == (EmbedsPrompt(), None)
    assert isinstance(source_of(made), PackedEmbeds)


@pytest.mark.parametrize(
    ("more", "part", "code"),
    [
        ({"prompt_token_ids": [1]}, "prompt_token_ids", "contradicting_fields"),
        ({"multi_modal_data": {"image": []}}, "multi_modal_data", "contradicting_fields"),
        ({"multi_modal_uuids": {}}, "multi_modal_uuids", "contradicting_fields"),
        ({"mm_processor_kwargs": {"fps": 1}}, "mm_processor_kwargs", "contradicting_fields"),
        ({"media_io_kwargs": {"video": {}}}, "media_io_kwargs", "contradicting_fields"),
        ({"prompt": ["abc"]}, "prompt", "wrong_type"),
        ({"prompt_embeds": [[0.5] * 8]}, "prompt_embeds", None),
        ({"prompt_embeds": np.ones((3, 8), np.int32)}, "prompt_embeds", None),
        ({"prompt_embeds": "@@@"}, "prompt_embeds", "invalid_base64"),
        ({"prompt_embeds": "https://host/rows.npy"}, "prompt_embeds", "invalid_base64"),
        ({"prompt_embed": ROWS}, "prompt", None),
    ],
)
def test_what_does_not_go_with_rows_is_named(
    more: dict[str, Any], part: str, code: str | None
) -> None:
    failure = refused(read_prompt, {"prompt_embeds": ROWS, **more})
    assert failure.part == part
    assert code is None or failure.code == code


def test_without_rows_the_other_keys_count() -> None:
    assert read_prompt({"prompt_embeds": None, "prompt": "abc"}).prompt == TextPrompt("abc")


# HTTP


def test_prompts_of_embeddings_come_first_each_by_itself() -> None:
    made = completion(prompt_embeds=[npy(ROWS), npy(ROWS)], prompt=["a", "b"], n=2)
    assert [one.prompt for one in made] == [
        EmbedsPrompt(),
        EmbedsPrompt(),
        TextPrompt("a"),
        TextPrompt("b"),
    ]
    assert [item.where for one in made for item in one.media] == [
        "prompt_embeds[0]",
        "prompt_embeds[1]",
    ]
    assert [one.sampling.n for one in made] == [2] * 4
    assert all(isinstance(source_of(one), PackedEmbeds) for one in made[:2])


@pytest.mark.parametrize("empty", [{}, {"prompt": ""}, {"prompt": []}, {"prompt": None}])
def test_an_empty_prompt_beside_embeddings_is_none(empty: dict[str, Any]) -> None:
    (made,) = completion(prompt_embeds=npy(ROWS), echo=False, **empty)
    assert made.prompt == EmbedsPrompt()
    assert made.media[0].where == "prompt_embeds"


@pytest.mark.parametrize("nothing", [None, []])
def test_no_embeddings_need_no_flag(nothing: Any) -> None:
    assert [one.prompt for one in completion(False, prompt=[1, 2], prompt_embeds=nothing)] == [
        TokenPrompt((1, 2))
    ]
    assert refused(completion, prompt_embeds=nothing).code == "missing_field"


@pytest.mark.parametrize(
    ("body", "part", "code"),
    [
        ({"prompt_embeds": ""}, "prompt_embeds", "empty_media"),
        ({"prompt_embeds": [npy(ROWS), "@@@"]}, "prompt_embeds[1]", "invalid_base64"),
        ({"prompt_embeds": {"a": 1}}, "prompt_embeds", "wrong_type"),
        ({"prompt_embeds": [1, 2]}, "prompt_embeds[0]", "wrong_type"),
        ({"prompt_embeds": ["YQ=="] * 1025}, "prompt", "too_many_prompts"),
        ({"prompt_embeds": npy(ROWS), "echo": True}, "echo", "unsupported"),
        ({"prompt_embeds": npy(ROWS), "prompt": "a", "echo": True}, "echo", "unsupported"),
        ({"prompt_embeds": npy(ROWS), "prompt_logprobs": 0}, "prompt_logprobs", "unsupported"),
        ({"prompt_embeds": npy(ROWS), "prompt": [["a"]]}, "prompt[0][0]", "wrong_type"),
    ],
)
def test_a_body_that_cannot_be_is_refused_by_its_field(
    body: dict[str, Any], part: str, code: str
) -> None:
    failure = refused(completion, **body)
    assert (failure.part, failure.code) == (part, code)


def test_the_flag_is_named_before_anything_is_decoded() -> None:
    failure = refused(completion, False, prompt_embeds="@@@")
    assert (failure.part, failure.code) == ("prompt_embeds", "embeds_disabled")
    assert failure.text == "You must set --enable-prompt-embeds to input prompt_embeds"


def test_chat_refuses_them_by_name() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "prompt_embeds": npy(ROWS)}
    failure = refused(parse_chat, decode(ChatRequest, json.dumps(body).encode()))
    assert (failure.part, failure.code) == ("prompt_embeds", "unsupported")


def test_the_budget_of_tokens_counts_the_answers() -> None:
    assert estimate_tokens(EmbedsPrompt(), SamplingParams(n=2, max_tokens=5), 64) == 10
