"""S16 to S21: ids that callers give to media."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from thespis import LLM, SamplingParams
from thespis.protocol.errors import RequestError

from ..helpers.media import RATE, clip, data_url, picture, png, sound, wav
from ..helpers.serving import Server
from .counting import Watch, Work
from .faces import ALICE, BOB, AsyncFace, Face, HttpFace, OfflineFace, ask, refusal

pytestmark = pytest.mark.process

SHOWN = "<|vision_bos|><|IMAGE|><|vision_eos|>"
HEARD = "<|audio_bos|><|AUDIO|><|audio_eos|>"
ONE = SamplingParams(temperature=0, max_tokens=4)
NOTHING = Work(0, 0, 0)


def generate(
    llm: LLM, images: Any, uuids: Any = None, text: str = "Look:", **more: Any
) -> list[int]:
    count = len(images) if isinstance(images, list) else 1
    prompt = {"prompt": f"{text} {SHOWN * count}", "multi_modal_data": {"image": images}, **more}
    if uuids is not None:
        prompt["multi_modal_uuids"] = uuids
    (output,) = llm.generate(prompt, ONE, use_tqdm=False)
    return output.outputs[0].token_ids


def image_part(seed: int | None, uuid: str | None = None) -> dict[str, Any]:
    url = None if seed is None else {"url": data_url("image/png", png(picture(seed)))}
    return {"type": "image_url", "image_url": url, **({} if uuid is None else {"uuid": uuid})}


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "image": lambda seed: {
        "type": "image_url",
        "image_url": {"url": data_url("image/png", png(picture(seed)))},
    },
    "video": lambda seed: {
        "type": "video_url",
        "video_url": {"url": data_url("video/mp4", clip(seed))},
    },
    "audio": lambda seed: {
        "type": "audio_url",
        "audio_url": {"url": data_url("audio/wav", wav(sound(seed)))},
    },
}
"""A part of each kind; its field has its type's name."""


def test_S16_ids_beside_the_data(llm: LLM, async_face: AsyncFace) -> None:
    data = {"image": [picture(201), picture(202)]}
    prompt = {
        "prompt": SHOWN * 2,
        "multi_modal_data": data,
        "multi_modal_uuids": {"image": ["sku-1234-a", None]},
    }
    with_ids = llm.generate(prompt, ONE, use_tqdm=False)[0].outputs[0].token_ids
    assert (
        _said(async_face, prompt)
        == _said(async_face, {"prompt": SHOWN * 2, "multi_modal_data": data})
        == with_ids
    )
    held = {
        "prompt": SHOWN,
        "multi_modal_data": {"image": [None]},
        "multi_modal_uuids": {"image": ["sku-1234-a"]},
    }
    assert _said(async_face, held) == _said(
        async_face, {"prompt": SHOWN, "multi_modal_data": {"image": [picture(201)]}}
    )


def _said(face: AsyncFace, prompt: dict[str, Any]) -> list[int]:
    tokens: list[int] = face.run(face.llm.generate(prompt, ONE)).outputs[0].token_ids
    return tokens


def test_S16_lengths_must_agree(llm: LLM, async_face: AsyncFace) -> None:
    text = (
        "If given, multi_modal_uuids['image'] must have same length as "
        "multi_modal_data['image'], but got 1 vs 2."
    )
    images = [picture(1), picture(2)]
    with pytest.raises(RequestError) as refused:
        generate(llm, images, {"image": ["sku-1234-a"]})
    assert refused.value.failure.text == text
    prompt = {
        "prompt": SHOWN * 2,
        "multi_modal_data": {"image": images},
        "multi_modal_uuids": {"image": ["sku-1234-a"]},
    }
    with pytest.raises(RequestError, match="but got 1 vs 2"):
        _said(async_face, prompt)


def test_S16_a_bare_string_is_a_list_of_one(llm: LLM) -> None:
    generate(llm, picture(203), {"image": "bare"})
    assert generate(llm, [None], {"image": ["bare"]}) == generate(llm, picture(203))


def test_S16_every_modality_must_be_covered(llm: LLM) -> None:
    data = {"image": picture(1), "audio": (sound(1), RATE)}
    prompt = {
        "prompt": SHOWN + HEARD,
        "multi_modal_data": data,
        "multi_modal_uuids": {"image": ["a-covered"]},
    }
    with pytest.raises(
        RequestError, match=r"multi_modal_uuids\['audio'\] must have same length .* but got 0 vs 1"
    ):
        llm.generate(prompt, ONE, use_tqdm=False)


@pytest.mark.parametrize("bad", [5, "", "x" * 129, ["nested"]])
def test_S16_what_is_no_id(llm: LLM, bad: Any) -> None:
    with pytest.raises(RequestError, match=r"multi_modal_uuids\['image'\]\[0\]: An id is a string"):
        generate(llm, [picture(1)], {"image": [bad]})


def test_S16_what_is_no_list_of_ids(llm: LLM) -> None:
    with pytest.raises(
        RequestError, match=r"multi_modal_uuids\['image'\]: It must be a list with an id"
    ):
        generate(llm, [picture(1)], {"image": 5})


def test_S17_without_an_id_the_content_is_the_key(llm: LLM) -> None:
    generate(llm, picture(210))
    watch = Watch(llm)
    generate(llm, picture(210), {"image": [None]}, text="Another question:")
    generate(llm, np.asarray(picture(210)), text="And another:")
    assert watch.done() == NOTHING


def test_S17_shape_mode_and_options_are_part_of_it(llm: LLM) -> None:
    pixels = np.asarray(picture(211, 56, 84))
    generate(llm, pixels)
    watch = Watch(llm)
    generate(llm, pixels.reshape(56, 84, 3))  # the same bytes, another shape
    generate(llm, pixels, mm_processor_kwargs={"max_pixels": 56 * 56})
    generate(llm, picture(211, 56, 84).convert("RGBA"))
    assert watch.done().decoded == 3


def test_S17_the_rate_is_part_of_a_sounds_key(llm: LLM) -> None:
    samples = sound(212, 0.25)
    watch = Watch(llm)
    for rate in (RATE, 8000, RATE):
        llm.generate(
            {"prompt": HEARD, "multi_modal_data": {"audio": (samples, rate)}}, ONE, use_tqdm=False
        )
    assert watch.done() == Work(0, 2, 2)


def test_S17_other_hashers(spare: LLM) -> None:
    """`spare` was started with sha512."""
    assert (
        generate(spare, picture(213))
        == generate(spare, picture(213))
        != generate(spare, picture(214))
    )
    with pytest.raises(ValueError, match="blake3, sha256, sha512"):
        LLM(mm_hasher_algorithm="md5")


@pytest.mark.parametrize("kind", PARTS)
def test_S18_an_id_stands_for_the_data(face: Face, llm: LLM, kind: str) -> None:
    uuid, seed = f"{face.name}-{kind}", 220 + 10 * len(face.name) + len(kind)
    part = PARTS[kind](seed)
    question = {"type": "text", "text": "Now what?"}
    ask(face, [{**part, "uuid": uuid}])
    watch = Watch(llm)
    skipped = ask(face, [{"type": part["type"], part["type"]: None, "uuid": uuid}, question])
    assert watch.done() == NOTHING
    assert skipped.token_ids == ask(face, [part, question]).token_ids


def test_S18_one_given_and_one_skipped(llm: LLM) -> None:
    generate(llm, [picture(231)], {"image": ["sku-1234-b"]})
    watch = Watch(llm)
    skipped = generate(llm, [None, picture(232)], {"image": ["sku-1234-b", None]})
    assert watch.done() == Work(0, 1, 1)
    assert skipped == generate(llm, [picture(231), picture(232)])


def test_S18_within_one_batch(llm: LLM) -> None:
    first = {
        "prompt": SHOWN,
        "multi_modal_data": {"image": [picture(233)]},
        "multi_modal_uuids": {"image": ["batched"]},
    }
    then = {
        "prompt": f"And? {SHOWN}",
        "multi_modal_data": {"image": [None]},
        "multi_modal_uuids": {"image": ["batched"]},
    }
    outputs = llm.generate([first, then, then], ONE, use_tqdm=False)
    assert outputs[1].outputs[0].token_ids == outputs[2].outputs[0].token_ids


def test_S19_neither_data_nor_id(face: Face, llm: LLM) -> None:
    text = "multi_modal_data['image'][0] is empty but multi_modal_uuids['image'][0] is missing."
    refused = refusal(face, [image_part(None)])
    assert refused.status == 400
    assert refused.text.endswith(text)
    with pytest.raises(RequestError) as offline:
        generate(llm, [None])
    assert offline.value.failure.text == text


def test_S19_an_id_that_misses(face: Face) -> None:
    unknown = f"unknown-{face.name}"
    refused = refusal(face, [image_part(240), image_part(None, unknown)])
    assert (refused.status, refused.code, refused.part) == (
        400,
        "cache_miss",
        "messages[0].content[1]",
    )
    assert refused.text.endswith("Cache miss for image at index 1 but data is not provided.")
    assert ask(
        face, [image_part(240), image_part(241, unknown)]
    ).token_ids  # the caller sends it again, with the data
    assert ask(face, [image_part(240), image_part(None, unknown)]).token_ids


def test_S20_without_caches_ids_are_ignored(spare: LLM) -> None:
    first = generate(spare, picture(251), {"image": ["same"]})
    other = generate(spare, picture(252), {"image": ["same"]})
    assert (first, other) == (generate(spare, picture(251)), generate(spare, picture(252)))
    with pytest.raises(RequestError) as refused:
        generate(spare, [None], {"image": ["same"]})
    assert refused.value.status == 400


def test_S21_the_same_id_with_other_bytes_is_a_conflict(face: Face) -> None:
    uuid = f"mine-{face.name}"
    ask(face, [image_part(261, uuid)])
    refused = refusal(face, [image_part(262, uuid)])
    assert refused.status == 409
    assert uuid in refused.text
    assert refused.part == "messages[0].content[0]"
    assert ask(face, [image_part(None, uuid)]).token_ids == ask(face, [image_part(261)]).token_ids


def test_S21_another_tenants_id_is_a_miss(server: Server, llm: LLM) -> None:
    web = HttpFace(server)
    ask(web, [image_part(263, "of-alice")], key=ALICE)
    refused = refusal(web, [image_part(None, "of-alice")], key=BOB)
    assert (refused.status, refused.code) == (400, "cache_miss")
    assert refusal(OfflineFace(llm), [image_part(None, "of-alice")]).code == "cache_miss"
    own = ask(web, [image_part(264, "of-alice")], key=BOB)  # Bob's own, under the same word
    assert own.token_ids == ask(web, [image_part(264)], key=BOB).token_ids
    assert (
        ask(web, [image_part(None, "of-alice")], key=ALICE).token_ids
        == ask(web, [image_part(263)]).token_ids
    )


def test_S21_bytes_that_are_no_picture_take_no_id(face: Face) -> None:
    uuid = f"second-try-{face.name}"
    broken = {
        **image_part(265, uuid),
        "image_url": {"url": data_url("image/png", b"this is no picture")},
    }
    assert refusal(face, [broken]).status == 422
    assert ask(face, [image_part(265, uuid)]).token_ids == ask(face, [image_part(265)]).token_ids
