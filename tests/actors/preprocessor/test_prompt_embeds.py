"""B17: a prompt of embeddings in the preprocessor: what is refused, and what it becomes."""

from typing import Any

import msgspec
import numpy as np
import pytest

from thespis.actors.decode_worker.item import ItemDecoder
from thespis.actors.preprocessor.validation import RequestValidator
from thespis.gpu_runtime.processing import Part, ProcessedItem
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.prepared import Prepared, Span
from thespis.protocol.requests.request import (
    Embeds,
    EmbedsPrompt,
    Encoded,
    MediaItem,
    PackedEmbeds,
    TextPrompt,
)
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.checkpoints import Checkpoints, Family
from .parts import NOWHERE, config_of, item, load, of_facts, processor, request
from .parts import prepared as prepared_of

FAMILIES: tuple[Family, ...] = ("qwen_omni", "qwen_vl", "llava")
CONTEXT = 32


def rows(source: Any = None, **fields: Any) -> MediaItem:
    return MediaItem("prompt", source or Embeds(NOWHERE), "prompt_embeds", **fields)


def rules(checkpoints: Checkpoints, **engine: Any) -> RequestValidator:
    return RequestValidator(config_of(checkpoints("qwen_omni"), **engine))


def refused(validator: RequestValidator, *media: MediaItem, **fields: Any) -> Failure:
    with pytest.raises(RequestError) as raised:
        validator.check(request(EmbedsPrompt(), media, **fields))
    return raised.value.failure


def test_off_by_default_and_apart_from_the_flag_of_media(checkpoints: Checkpoints) -> None:
    for engine in ({}, {"enable_mm_embeds": True}):
        failure = refused(rules(checkpoints, **engine), rows())
        assert failure.text == "You must set --enable-prompt-embeds to input prompt_embeds"
        assert (failure.part, failure.code) == ("prompt_embeds", "embeds_disabled")
    on = rules(checkpoints, enable_prompt_embeds=True)
    for source in (Embeds(NOWHERE), PackedEmbeds(NOWHERE)):
        on.check(request(EmbedsPrompt(), (rows(source),), mm_processor_kwargs={"max_pixels": 5000}))
    with pytest.raises(RequestError, match="You must set --enable-mm-embeds"):
        on.check(request(TextPrompt("x"), (item(source=Embeds(NOWHERE)),)))


def test_there_are_no_tokens_to_score(checkpoints: Checkpoints) -> None:
    failure = refused(
        rules(checkpoints, enable_prompt_embeds=True),
        rows(),
        sampling=SamplingParams(prompt_logprobs=0),
    )
    assert (failure.part, failure.code) == ("prompt_logprobs", "unsupported")


def test_it_has_one_item_and_media_have_no_such(checkpoints: Checkpoints) -> None:
    on = rules(checkpoints, enable_prompt_embeds=True, enable_mm_embeds=True)
    for media in (
        (),
        (rows(), rows()),
        (rows(), item()),
        (item(source=Embeds(NOWHERE)),),
        (rows(Encoded(NOWHERE)),),
    ):
        assert refused(on, *media).kind == "internal"
    with pytest.raises(RequestError, match="takes no prompt input"):
        on.check(request(TextPrompt("x"), (rows(),)))


def prepared(checkpoints: Checkpoints, family: Family, count: int) -> Prepared:
    """Of a prompt of `count` rows."""
    made = ProcessedItem("", (), (Part("prompt", {}, count, 0),))  # type: ignore[arg-type]  # as a worker says it
    return prepared_of(load(checkpoints(family)), EmbedsPrompt(), ("prompt", made), context=CONTEXT)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, 5, CONTEXT - 1])
def test_the_rows_are_the_prompt_and_count_on_like_text(
    checkpoints: Checkpoints, family: Family, count: int
) -> None:
    made = prepared(checkpoints, family, count)
    (only,) = made.items
    assert (only.modality, only.rows, only.spans) == ("prompt", count, (Span(0, count),))
    assert (made.positions, made.position_delta) == (None, 0)
    assert len(made.token_ids) == count
    assert made.prompt_token_ids == ()
    assert made.media_tokens == {}
    assert made.sampling.max_tokens is not None
    assert made.sampling.max_tokens <= CONTEXT - count


def test_its_rows_do_not_see_each_other_both_ways_as_an_items_do(checkpoints: Checkpoints) -> None:
    parts = load(checkpoints("llava"))
    spans = (parts.embed_id("image"),)
    made = ProcessedItem("", (), (Part("prompt", {}, 5, 0),))  # type: ignore[arg-type]  # as a worker says it
    model = msgspec.structs.replace(parts.model, span_token_ids=spans, span_modalities=("image",))
    found = prepared_of(of_facts(model), EmbedsPrompt(), ("prompt", made), context=CONTEXT)
    assert not set(found.token_ids) & set(spans)


def test_layers_that_look_at_tokens_need_them(checkpoints: Checkpoints) -> None:
    config = config_of(checkpoints("qwen_omni"), enable_prompt_embeds=True)
    config = msgspec.structs.replace(
        config, model=msgspec.structs.replace(config.model, per_layer_width=8)
    )
    failure = refused(RequestValidator(config), rows())
    assert (failure.part, failure.code) == ("prompt_embeds", "unsupported")


def test_a_token_must_be_left_for_the_answer(checkpoints: Checkpoints) -> None:
    with pytest.raises(RequestError) as raised:
        prepared(checkpoints, "llava", CONTEXT)
    assert raised.value.failure.code == "context_length_exceeded"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("shape", "grid", "value", "said"),
    [
        ((5, 64), None, 1.0, None),
        ((CONTEXT + 1, 64), None, 1.0, "the model's context is 32"),
        ((5, 63), None, 1.0, "hidden size 64, got 63"),
        ((2, 5, 64), None, 1.0, "got shape"),
        ((0, 64), None, 1.0, "at least 1 rows, got 0"),
        ((5, 64), (1, 2, 2), 1.0, "have no grid"),
        ((5, 64), None, np.nan, "no finite numbers"),
    ],
)
def test_a_worker_checks_the_rows(
    checkpoints: Checkpoints,
    family: Family,
    shape: tuple[int, ...],
    grid: Any,
    value: float,
    said: str | None,
) -> None:
    """Not against what a tower would make: LLaVA's pictures have sixteen rows, a prompt has any
    number."""
    decoder = ItemDecoder(processor(checkpoints(family)), 64, MediaLimits(), CONTEXT)
    array = np.full(shape, value, np.float32)
    source = Embeds(BlobRef("none", 0, "float32", shape), grid)
    if said is None:
        assert decoder.features("prompt", source, array.tobytes(), {}, {}).item.rows == shape[0]
        return
    with pytest.raises(RequestError, match=said):
        decoder.features("prompt", source, array.tobytes(), {}, {})


def test_rows_of_a_prompt_add_nothing_where_items_have_further_rows(
    checkpoints: Checkpoints,
) -> None:
    """A token's embedding is as wide as the model; of a picture there are as many columns again per
    deepstack level."""
    decoder = ItemDecoder(processor(checkpoints("llava")), 192, MediaLimits(), CONTEXT, 64)
    array = np.ones((5, 64), np.float32)
    made = decoder.features(
        "prompt", Embeds(BlobRef("none", 0, "float32", (5, 64))), array.tobytes(), {}, {}
    )
    (part,) = made.item.parts
    assert np.array_equal(part.tensors["embeds"], np.pad(array, ((0, 0), (0, 128))))


def test_a_worker_takes_nothing_else_for_a_prompt(checkpoints: Checkpoints) -> None:
    decoder = ItemDecoder(processor(checkpoints("llava")), 64, MediaLimits(), CONTEXT)
    with pytest.raises(RequestError, match="must be an array, a tensor, or a file"):
        decoder.features("prompt", Encoded(NOWHERE), b"\x89PNG", {}, {})
