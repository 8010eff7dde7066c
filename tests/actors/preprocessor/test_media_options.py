"""Options of media: which there are, and what they come to under the operator's ceilings."""

from typing import Any

import msgspec
import pytest

from thespis.actors.preprocessor.media_options import MediaOptions
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError, RequestError
from thespis.protocol.requests.request import (
    Encoded,
    Frames,
    MediaItem,
    Request,
    Source,
    TextPrompt,
)

from ...helpers.checkpoints import Checkpoints
from .parts import NOWHERE, config_of, request


def rules_of(checkpoints: Checkpoints, family: Any = "qwen_omni", **engine: Any) -> MediaOptions:
    return MediaOptions(config_of(checkpoints(family), **engine))


def asking(*media: MediaItem, **options: Any) -> Request:
    return request(TextPrompt("x"), media, **options)


def of(modality: Any, source: Source | None = None) -> MediaItem:
    return MediaItem(modality, source or Encoded(NOWHERE), "here")


IMAGE, VIDEO, AUDIO = of("image"), of("video"), of("audio")


@pytest.mark.parametrize(
    "options",
    [
        {"unheard_of": 1},
        {"min_pixels": 0},
        {"max_pixels": "many"},
        {"max_pixels": True},
        {"fps": -1},
        {"num_frames": 1.5},
        {"use_audio_in_video": "yes"},
    ],
)
def test_S50_processor_options(checkpoints: Checkpoints, options: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        rules_of(checkpoints).check(asking(mm_processor_kwargs=options))
    assert refused.value.failure.part == "mm_processor_kwargs"
    with pytest.raises(EngineError):
        rules_of(checkpoints, mm_processor_kwargs=options)


@pytest.mark.parametrize(
    "options",
    [
        {"picture": {}},
        {"image": {"num_frames": 1}},
        {"image": {"rgba_background_color": [1, 2]}},
        {"video": {"num_frames": 0}},
        {"video": {"frame_recovery": 1}},
    ],
)
def test_S50_decoding_options(checkpoints: Checkpoints, options: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        rules_of(checkpoints).check(asking(media_io_kwargs=options))
    assert refused.value.failure.part == "media_io_kwargs"


def test_S50_an_operator_has_no_list_of_rates(checkpoints: Checkpoints) -> None:
    with pytest.raises(EngineError, match="one number"):
        rules_of(checkpoints, mm_processor_kwargs={"fps": [1, 2]})


def test_S26_an_operators_background_that_is_none_stops_the_start(checkpoints: Checkpoints) -> None:
    with pytest.raises(
        EngineError, match=r"must be a list or tuple of 3 integers in the range \[0, 255\]\."
    ):
        rules_of(checkpoints, media_io_kwargs={"image": {"rgba_background_color": [0, 0, 256]}})


def test_a_requests_options_go_before_the_operators(checkpoints: Checkpoints) -> None:
    operator = {"min_pixels": 5, "fps": 3}
    rules = rules_of(
        checkpoints,
        mm_processor_kwargs=operator,
        media_io_kwargs={"video": {"num_frames": 8, "fps": 2}},
    )
    asked = asking(
        IMAGE,
        VIDEO,
        AUDIO,
        mm_processor_kwargs={"max_pixels": 9, "fps": 1, "use_audio_in_video": False},
        media_io_kwargs={"video": {"num_frames": 4}},
    )
    rules.check(asked)
    assert rules.of(asked, 0) == ({"min_pixels": 5, "max_pixels": 9}, {})
    assert rules.of(asked, 1) == (
        {"min_pixels": 5, "max_pixels": 9, "fps": 1},
        {"num_frames": 4, "fps": 2, "most_fps": 2},
    )
    assert rules.of(asked, 2) == ({}, {})


@pytest.mark.parametrize(
    ("operator", "asked", "effective"),
    [
        ({}, {"max_pixels": 1 << 40}, {"max_pixels": 1 << 40}),
        ({"max_pixels": 5000}, {"max_pixels": 1 << 40}, {"max_pixels": 5000}),
        ({"max_pixels": 5000}, {"max_pixels": 4000}, {"max_pixels": 4000}),
        ({"max_pixels": 5000}, {"max_pixels": None}, {"max_pixels": 5000}),
        ({"max_pixels": 5000}, {"min_pixels": 9000}, {"max_pixels": 5000, "min_pixels": 5000}),
        ({"max_pixels": 2000}, {}, {"max_pixels": 2000, "min_pixels": 2000}),
        ({"min_pixels": 4000}, {"min_pixels": 5000}, {"min_pixels": 5000}),
    ],
)
def test_S50_pixels_are_clamped(
    checkpoints: Checkpoints, operator: Any, asked: Any, effective: Any
) -> None:
    """The tiny model's own range is 3136 to 9408."""
    rules = rules_of(checkpoints, mm_processor_kwargs=operator)
    assert rules.of(asking(IMAGE, mm_processor_kwargs=asked), 0) == (effective, {})


def test_S50_pieces_and_frames_are_clamped(checkpoints: Checkpoints) -> None:
    """Whatever a model's processor calls what costs."""
    config = config_of(
        checkpoints("qwen_omni"), mm_processor_kwargs={"max_patches": 4, "max_frames": 8}
    )
    names = {"image": ("max_patches",), "video": ("max_frames",)}
    rules = MediaOptions(
        msgspec.structs.replace(
            config, model=msgspec.structs.replace(config.model, media_options=names)
        )
    )
    asked = asking(IMAGE, VIDEO, mm_processor_kwargs={"max_patches": 12, "max_frames": 768})
    assert rules.of(asked, 0)[0] == {"max_patches": 4}
    assert rules.of(asked, 1)[0] == {"max_frames": 8}


@pytest.mark.parametrize(
    ("limit", "asked", "effective"),
    [
        ({"width": 60, "height": 60}, {}, {"max_pixels": 3600}),
        ({"width": 60, "height": 60}, {"max_pixels": 9000}, {"max_pixels": 3600}),
        ({"width": 50, "height": 50}, {}, {"max_pixels": 2500, "min_pixels": 2500}),
        ({"width": 500, "height": 500}, {}, {}),
        ({"width": 500, "height": 500}, {"max_pixels": 1 << 40}, {"max_pixels": 250_000}),
        ({"width": 60}, {"max_pixels": 9000}, {"max_pixels": 9000}),
    ],
)
def test_S50_S14_the_size_in_a_limit_is_a_ceiling(
    checkpoints: Checkpoints, limit: Any, asked: Any, effective: Any
) -> None:
    rules = rules_of(checkpoints, limit_mm_per_prompt={"image": limit})
    assert rules.of(asking(IMAGE, mm_processor_kwargs=asked), 0) == (effective, {})


@pytest.mark.parametrize(
    ("asked", "effective"),
    [
        ({}, {"most_frames": 8}),
        ({"num_frames": 4}, {"num_frames": 4}),
        ({"num_frames": 99}, {"num_frames": 8}),
        ({"num_frames": -1}, {"num_frames": 8}),
        ({"fps": 30}, {"most_frames": 8, "fps": 30}),
    ],
)
def test_S50_S14_frames_are_clamped(checkpoints: Checkpoints, asked: Any, effective: Any) -> None:
    rules = rules_of(checkpoints, limit_mm_per_prompt={"video": {"count": 3, "num_frames": 8}})
    assert rules.of(asking(VIDEO, media_io_kwargs={"video": asked}), 0) == ({}, effective)


def test_S50_only_a_rate_of_sampling_has_a_ceiling(checkpoints: Checkpoints) -> None:
    """Of frames that a caller brings it says how far apart they are. The options are the same: an
    id may stand for either."""
    rules = rules_of(checkpoints, mm_processor_kwargs={"fps": 2})
    asked = asking(VIDEO, of("video", Frames(NOWHERE)), mm_processor_kwargs={"fps": 24})
    assert rules.of(asked, 0) == rules.of(asked, 1) == ({"fps": 24}, {"most_fps": 2})
    assert rules.in_effect(asked) == {"mm_processor_kwargs": {"video": {"fps": [2, 24]}}}


def test_S50_what_is_told_of_the_options_in_effect(checkpoints: Checkpoints) -> None:
    rules = rules_of(
        checkpoints,
        mm_processor_kwargs={"max_pixels": 5000},
        limit_mm_per_prompt={"video": {"num_frames": 8}},
    )
    assert rules.in_effect(asking(IMAGE, VIDEO)) == {}, "nobody asked"
    asked = asking(
        IMAGE,
        IMAGE,
        VIDEO,
        AUDIO,
        mm_processor_kwargs={"max_pixels": 6000, "fps": [9], "use_audio_in_video": True},
    )
    assert rules.in_effect(asked) == {
        "mm_processor_kwargs": {
            "image": {"max_pixels": 5000},
            "video": {"max_pixels": 5000, "fps": 9, "use_audio_in_video": True},
        },
        "media_io_kwargs": {"video": {"num_frames": 8}},
    }


@pytest.mark.parametrize(
    "limit",
    [
        {"image": {"num_frames": 3}},
        {"audio": {"width": 3}},
        {"video": {"width": "wide"}},
        {"video": {"depth": 3}},
    ],
)
def test_S14_a_limit_that_there_is_not(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit_mm_per_prompt"):
        EngineConfig(limit_mm_per_prompt=limit)


def with_own(modality: Any, **options: Any) -> MediaItem:
    return MediaItem(modality, Encoded(NOWHERE), "here", None, options)


def test_B6_a_parts_own_options_go_first_and_are_clamped(checkpoints: Checkpoints) -> None:
    rules = rules_of(checkpoints, mm_processor_kwargs={"max_pixels": 5000})
    pictures = with_own("image", max_pixels=4000), IMAGE, with_own("image", max_pixels=9000)
    asked = asking(
        *pictures, with_own("video", num_frames=3), mm_processor_kwargs={"max_pixels": 4500}
    )
    rules.check(asked)
    assert [rules.of(asked, index)[0]["max_pixels"] for index in range(4)] == [
        4000,
        4500,
        5000,
        4500,
    ]
    assert rules.of(asked, 3)[0]["num_frames"] == 3
    alone = asking(with_own("image", max_pixels=4000))
    assert rules.in_effect(alone) == {"mm_processor_kwargs": {"image": {"max_pixels": 4000}}}


@pytest.mark.parametrize(
    ("family", "item"),
    [
        ("qwen_omni", with_own("image", max_pixels=0)),
        ("qwen_omni", with_own("image", max_pixels=1.5)),
        ("qwen_omni", with_own("video", fps=-1)),
        ("qwen_omni", with_own("video", fps=1e-300)),
        ("qwen_omni", with_own("image", fps=1)),
        ("llava", with_own("image", max_pixels=4000)),
    ],
)
def test_B6_a_part_is_named_for_an_option_that_is_none(
    checkpoints: Checkpoints, family: Any, item: MediaItem
) -> None:
    with pytest.raises(RequestError) as refused:
        rules_of(checkpoints, family).check(asking(item))
    assert refused.value.failure.part == "here"


def test_B13_options_of_one_modality_stand_under_its_name(checkpoints: Checkpoints) -> None:
    rules = rules_of(
        checkpoints, mm_processor_kwargs={"images_kwargs": {"max_pixels": 6000}, "max_pixels": 8000}
    )
    asked = asking(
        IMAGE,
        VIDEO,
        AUDIO,
        mm_processor_kwargs={
            "images_kwargs": {"max_pixels": 7000},
            "videos_kwargs": {"fps": [3], "use_audio_in_video": True},
            "audio_kwargs": {},
            "min_pixels": 4000,
        },
    )
    rules.check(asked)
    assert rules.of(asked, 0)[0] == {"max_pixels": 6000, "min_pixels": 4000}
    assert rules.of(asked, 1)[0] == {"max_pixels": 8000, "min_pixels": 4000, "fps": 3}
    assert rules.of(asked, 2)[0] == {}
    assert rules.hears_clips(asked)


@pytest.mark.parametrize(
    "options",
    [
        {"images_kwargs": {"fps": 1}},
        {"images_kwargs": 5},
        {"images_kwargs": [1]},
        {"audio_kwargs": {"max_pixels": 5}},
        {"videos_kwargs": {"fps": 0}},
        {"text_kwargs": {}},
        {"common_kwargs": {"max_pixels": 5}},
        {"image_kwargs": {"max_pixels": 5}},
    ],
)
def test_B13_nested_options_that_are_none(
    checkpoints: Checkpoints, options: dict[str, Any]
) -> None:
    with pytest.raises(RequestError) as refused:
        rules_of(checkpoints).check(asking(IMAGE, VIDEO, mm_processor_kwargs=options))
    assert refused.value.failure.part == "mm_processor_kwargs"
