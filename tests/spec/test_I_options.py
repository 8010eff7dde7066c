"""S50: options of media in a request are honoured, under the operator's ceilings, and told."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from thespis import LLM, AsyncLLM
from thespis.frontends.inputs.embeds import encode_embeds
from thespis.protocol.errors import EngineError

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import clip, data_url, picture, png
from ..helpers.serving import Server, served
from ..helpers.torchless import TORCHLESS
from .faces import FACES, AsyncFace, Face, FaceName, HttpFace, OfflineFace, ask, refusal
from .troupe import text

pytestmark = pytest.mark.process


def image(seed: int, width: int = 112, height: int = 84) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": data_url("image/png", png(picture(seed, width, height)))},
    }


def video(seed: int, frames: int = 12) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": data_url("video/mp4", clip(seed, frames))}}


@pytest.fixture(scope="module")
def strict(ruled: Server, ruled_llm: LLM) -> Iterator[dict[FaceName, Face]]:
    """The faces of the engine whose operator has said how much is enough."""
    running = AsyncFace(AsyncLLM(run_dir=ruled.run_dir))
    yield {"llm": OfflineFace(ruled_llm), "async": running, "http": HttpFace(ruled)}
    running.close()


@pytest.fixture(params=FACES)
def strict_face(request: pytest.FixtureRequest, strict: dict[FaceName, Face]) -> Face:
    return strict[request.param]


def test_S50_processor_options_are_honoured(face: Face) -> None:
    """Less and more than the model's own range; each gives the tokens of its size, and is told."""
    for asked, tokens in (
        ({"max_pixels": 56 * 56}, 2),
        ({}, 12),
        ({"min_pixels": 168 * 224, "max_pixels": 168 * 224}, 48),
    ):
        answer = ask(face, [image(701), text("What?")], mm_processor_kwargs=asked, max_tokens=2)
        assert answer.media_tokens == {"image": tokens}
        assert answer.media_options == ({"mm_processor_kwargs": {"image": asked}} if asked else {})


def test_S50_decoding_options_are_honoured(face: Face) -> None:
    few, many = (
        ask(
            face,
            [video(702), text("What?")],
            media_io_kwargs={"video": {"num_frames": number}},
            max_tokens=2,
        )
        for number in (4, -1)
    )
    assert many.media_tokens["video"] == 3 * few.media_tokens["video"]
    assert few.media_options == {"media_io_kwargs": {"video": {"num_frames": 4}}}
    assert many.media_options == {"media_io_kwargs": {"video": {"num_frames": 32}}}, (
        "the limit's, which this engine has"
    )


def test_S50_only_what_concerns_the_items_is_told(face: Face) -> None:
    """By modality; of several items that differ, one value for each."""
    asked = {"max_pixels": 4000, "fps": [1.0, 2.0]}
    answer = ask(
        face, [video(703), image(703), video(704)], mm_processor_kwargs=asked, max_tokens=1
    )
    told = answer.media_options["mm_processor_kwargs"]
    assert told == {"image": {"max_pixels": 4000}, "video": {"max_pixels": 4000, "fps": [1.0, 2.0]}}
    assert not ask(
        face, "Hello", mm_processor_kwargs={"max_pixels": 4000}, max_tokens=1
    ).media_options


def test_S50_pixels_are_clamped_to_the_operators_ceiling(strict_face: Face) -> None:
    """The operator's option or the size in its limit, whichever is less, for callers that ask for
    more or for nothing."""
    least = ask(strict_face, [image(705)], mm_processor_kwargs={"max_pixels": 56 * 56})
    assert least.media_tokens == {"image": 2}
    for asked in (
        {"max_pixels": 10**12},
        {"max_pixels": None},
        {"min_pixels": 10**12},
        {"max_pixels": 9408, "min_pixels": 9000},
    ):
        answer = ask(strict_face, [image(705)], mm_processor_kwargs=asked)
        assert (answer.media_tokens, answer.token_ids) == (least.media_tokens, least.token_ids)
        assert answer.media_options["mm_processor_kwargs"]["image"]["max_pixels"] == 56 * 56
    assert ask(strict_face, [image(705)]).token_ids == least.token_ids


def test_S50_frames_are_clamped_too(strict_face: Face) -> None:
    """Four at most, one a second at most: of six seconds of clip looked at as four, four."""
    most = ask(strict_face, [video(706)], media_io_kwargs={"video": {"num_frames": 4}})
    for asked in (
        {"num_frames": -1},
        {"num_frames": 10**6},
        {"num_frames": 64, "fps": 500, "max_duration": 10**5},
    ):
        answer = ask(strict_face, [video(706)], media_io_kwargs={"video": asked})
        assert (answer.media_tokens, answer.token_ids) == (most.media_tokens, most.token_ids)
        assert answer.media_options["media_io_kwargs"]["video"] == {
            "num_frames": 4,
            "fps": 1.0,
            "max_duration": 4,
        }
    by_processor = ask(strict_face, [video(706)], mm_processor_kwargs={"num_frames": 64, "fps": 30})
    assert by_processor.media_tokens == most.media_tokens
    fewer = ask(strict_face, [video(706)], media_io_kwargs={"video": {"num_frames": 2}})
    assert fewer.media_tokens["video"] < most.media_tokens["video"], (
        "less than the ceiling is the caller's to ask"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"mm_processor_kwargs": {"unheard_of": 1}},
            "Unknown option 'unheard_of'; this model's are: ",
        ),
        (
            {"mm_processor_kwargs": {"max_pixels": -5}},
            "max_pixels must be a positive whole number.",
        ),
        (
            {"media_io_kwargs": {"image": {"num_frames": 4}}},
            "Unknown image option 'num_frames'; known: rgba_background_color.",
        ),
        ({"media_io_kwargs": {"video": {"most_frames": 4}}}, "Unknown video option 'most_frames'"),
        (
            {"media_io_kwargs": {"audio": {"sound_track": True}}},
            "Unknown audio option 'sound_track'",
        ),
        ({"media_io_kwargs": {"smell": {}}}, "Unsupported modality: smell"),
    ],
)
def test_S50_unknown_knobs_are_refused(face: Face, options: dict[str, Any], says: str) -> None:
    refused = refusal(face, [image(707)], **options)
    assert (refused.status, refused.part) == (400, next(iter(options)))
    assert says in refused.text


def test_S50_an_operators_unknown_knob_stops_the_start(checkpoints: Checkpoints) -> None:
    with (
        pytest.raises(EngineError, match="Unknown option 'unheard_of'"),
        served(checkpoints("qwen_omni"), modules=TORCHLESS, mm_processor_kwargs={"unheard_of": 1}),
    ):
        pass


def test_S50_a_stream_tells_them_with_its_usage(server: Server) -> None:
    body = {
        "messages": [{"role": "user", "content": [image(708)]}],
        "mm_processor_kwargs": {"max_pixels": 4000},
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 2,
    }
    request = urllib.request.Request(server.url + "/v1/chat/completions", json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {server.key}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as response:
        events = [
            line[6:] for line in response.read().decode().splitlines() if line.startswith("data: {")
        ]
    usages = [usage for event in events if (usage := json.loads(event).get("usage"))]
    assert [usage["media_options"] for usage in usages] == [
        {"mm_processor_kwargs": {"image": {"max_pixels": 4000}}}
    ]


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
def test_S36_embeddings_are_off_unless_the_operator_opens_them(
    strict_face: Face, kind: str
) -> None:
    """Here, since this engine leaves them off."""
    grid = None if kind == "audio" else (1, 4, 4)
    part = {
        "type": f"{kind}_embeds",
        f"{kind}_embeds": encode_embeds(np.ones((4, 64), np.float32), grid),
    }
    refused = refusal(strict_face, [text("x"), part])
    assert (refused.status, refused.part, refused.code) == (
        400,
        "messages[0].content[1]",
        "embeds_disabled",
    )
    assert refused.text.endswith(f"You must set --enable-mm-embeds to input {kind}_embeds")
