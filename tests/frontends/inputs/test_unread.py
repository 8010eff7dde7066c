"""What nobody reads is never dropped in silence: refused in Python, with what may have been
meant."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis import SamplingParams
from thespis.frontends.inputs.prompt_types import PROMPT_KEYS
from thespis.frontends.inputs.prompts import read_prompt
from thespis.frontends.inputs.unread import MOST_TOLD, Unread
from thespis.frontends.python.options import engine_config
from thespis.protocol.errors import RequestError

CLIP = np.zeros((2, 4, 4, 3), np.uint8)
ROWS = np.ones((4, 8), np.float32)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({"prompt": "x", "multi_modal_dat": {"image": []}}, "did you mean 'multi_modal_data'"),
        ({"prompt": "x", "multi_modal_uuid": {}}, "did you mean 'multi_modal_uuids'"),
        ({"prompt_token_ids": [1], "mm_processor_kwarg": {}}, "did you mean 'mm_processor_kwargs'"),
        ({"prompt": "x", "cache_salt": "mine"}, "Unknown key 'cache_salt'; known: "),
        ({"prompt": "x", "encoder_prompt": "y"}, "Unknown key 'encoder_prompt'"),
        ({"prompt": "x", 7: 1}, "Unknown key 7; known: "),
        (
            {"prompt": "x", "multi_modal_data": {"images": []}},
            "Unsupported modality: images; did you mean 'image'?",
        ),
        ({"prompt": "x", "multi_modal_data": {"vido": []}}, "did you mean 'video'"),
        ({"prompt": "x", "multi_modal_uuids": {"audios": []}}, "did you mean 'audio'"),
        (
            {
                "prompt": "x",
                "multi_modal_data": {"image": {"image_embeds": ROWS, "image_grid": [1, 4, 4]}},
            },
            "did you mean 'image_grid_thw'",
        ),
        (
            {
                "prompt": "x",
                "multi_modal_data": {"image": {"image_embeds": ROWS, "image_sizes": [1]}},
            },
            "'image_sizes'",
        ),
        (
            {"prompt": "x", "multi_modal_data": {"audio": [{"audio_embeds": ROWS, "rate": 1}]}},
            "Unknown key 'rate'",
        ),
        ({"prompt": "x", "multi_modal_data": {"video": [(CLIP, {"fp": 2})]}}, "did you mean 'fps'"),
    ],
)
def test_a_misspelt_key_is_an_error_that_suggests_the_right_one(
    prompt: dict[Any, Any], said: str
) -> None:
    with pytest.raises(RequestError) as raised:
        read_prompt(prompt)
    assert said in str(raised.value)


@given(
    key=st.text(max_size=20) | st.integers(),
    form=st.sampled_from([{"prompt": "x"}, {"prompt_token_ids": [1]}]),
)
def test_any_other_key_of_a_prompt_is_refused(key: Any, form: dict[Any, Any]) -> None:
    if key not in PROMPT_KEYS:
        with pytest.raises(RequestError, match="Unknown key"):
            read_prompt({**form, key: 1})


def test_what_video_readers_write_into_metadata_is_known() -> None:
    about = {
        "fps": 2.0,
        "duration": 1.0,
        "total_num_frames": 2,
        "frames_indices": [0, 1],
        "do_sample_frames": False,
    }
    read_prompt(
        {
            "prompt": "x",
            "multi_modal_data": {
                "video": [(CLIP, {**about, "video_backend": "opencv", "width": 4})]
            },
        }
    )


def test_options_and_sampling_parameters_are_suggested_too() -> None:
    with pytest.raises(TypeError, match="no option 'max_modl_len'; did you mean 'max_model_len'"):
        engine_config("", {"max_modl_len": 5})
    with pytest.raises(TypeError, match=r"'temprature'; did you mean 'temperature'\?"):
        SamplingParams(temprature=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"keyword argument 'zzz'$"):
        SamplingParams(zzz=0)  # type: ignore[call-arg]


def test_names_are_told_as_a_header_can_hold_them() -> None:
    unread = Unread()
    unread.check(
        {"a b": 1, "é\r\n": 2, "known": 3, "ok_1": 4, "x" * 500: 5},
        {"known"},
        "messages[0].content[1]",
    )
    assert unread.told[:3] == [
        "messages[0].content[1].a%20b",
        "messages[0].content[1].%C3%A9%0D%0A",
        "messages[0].content[1].ok_1",
    ]
    assert all(name.isascii() and name.isprintable() and len(name) < 400 for name in unread.told)
    unread.check({f"k{number}": 1 for number in range(100)}, ())
    assert len(unread.told) == MOST_TOLD + 1
    assert unread.told[-1] == f"and-{104 - MOST_TOLD}-more"
