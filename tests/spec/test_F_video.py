"""S28 to S33: clips from arrays, files and lists of frames, and their sound."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from thespis import LLM, SamplingParams

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import RATE, data_url, picture, sound
from ..helpers.reference import Media, Reference, reference_for
from .containers import FORMS, encoded, film, shown, track, turned
from .faces import Face, ask, refusal

pytestmark = pytest.mark.process
PROMPT = (
    "<|im_start|>user\n<|vision_bos|><|VIDEO|><|vision_eos|>What?<|im_end|>\n"
    "<|im_start|>assistant\n"
)
"""As the template renders one clip and a question."""


@pytest.fixture(scope="module")
def reference(checkpoints: Checkpoints) -> Reference:
    return reference_for(checkpoints("qwen_omni"))


def part(content: bytes, kind: str = "video/mp4") -> list[dict[str, Any]]:
    return [
        {"type": "video_url", "video_url": {"url": data_url(kind, content)}},
        {"type": "text", "text": "What?"},
    ]


def expected(reference: Reference, frames: Any) -> list[int]:
    """What transformers says to these frames, as far as it is sure."""
    answer = reference.answer(PROMPT, Media(videos=(np.ascontiguousarray(frames),)), 8)
    sure = next((place for place, gap in enumerate(answer.gaps) if gap < 1e-3), 8)
    assert sure >= 3, "the clip is near a tie at once; draw another"
    return answer.token_ids[:sure]


def assert_seen(
    face: Face, content: list[dict[str, Any]], wanted: list[int], **options: Any
) -> None:
    assert ask(face, content, **options).token_ids[: len(wanted)] == wanted


def generated(llm: LLM, video: Any, **more: Any) -> list[int]:
    asked = {"prompt": PROMPT, "multi_modal_data": {"video": video}, **more}
    (output,) = llm.generate(asked, SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)
    return output.outputs[0].token_ids


FRAMES = np.stack([np.asarray(picture(60 + k)) for k in range(4)])
TAKEN: dict[str, Any] = {
    "a list of arrays": list(FRAMES),
    "a list of PIL frames": [Image.fromarray(frame) for frame in FRAMES],
    "one array": FRAMES,
    "one tensor": torch.from_numpy(FRAMES),
    "channels first": torch.from_numpy(FRAMES).permute(0, 3, 1, 2),
    "floats": FRAMES.astype(np.float32) / 255,
    "with metadata": (
        FRAMES,
        {"fps": 2.0, "duration": 2.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3]},
    ),
    "a list of one": [FRAMES],
    "a list of one with metadata": [(torch.from_numpy(FRAMES), {"fps": 2})],
}


@pytest.mark.parametrize("form", TAKEN)
def test_S28_forms_of_a_clip(llm: LLM, reference: Reference, form: str) -> None:
    wanted = expected(reference, FRAMES)
    assert generated(llm, TAKEN[form])[: len(wanted)] == wanted


def test_S28_several_clips(llm: LLM, reference: Reference) -> None:
    other = FRAMES[::-1].copy()
    prompt = PROMPT.replace("What?", "<|vision_bos|><|VIDEO|><|vision_eos|>Which?")
    answer = reference.answer(prompt, Media(videos=(FRAMES, other)), 8)
    assert answer.safe
    for given in ([FRAMES, other], np.stack([FRAMES, other]), [list(FRAMES), (other, {})]):
        asked = {"prompt": prompt, "multi_modal_data": {"video": given}}
        (output,) = llm.generate(asked, SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)
        assert output.outputs[0].token_ids == answer.token_ids


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"fps": 0}, "fps must be a positive number"),
        ({"frames_indices": [1.5]}, "frames_indices must be a list of whole numbers"),
        ({"frames_indices": [1, 2]}, "frames_indices must name each of the 4 frames, got 2"),
        ({"total_num_frames": 2}, "total_num_frames must be at least the 4 frames given, got 2"),
    ],
)
def test_S28_metadata_that_does_not_fit(llm: LLM, metadata: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        generated(llm, (FRAMES, metadata))


def test_S29_prompt_and_tensors_of_the_models_own_tools(llm: LLM, reference: Reference) -> None:
    """As `process_vision_info` of qwen-vl-utils returns them: float tensors [T, C, H, W] of 0 to
    255, and one fps per clip."""
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What?"}]}]
    prompt = reference.prompt(messages)
    assert prompt == PROMPT
    tensor = torch.from_numpy(FRAMES).permute(0, 3, 1, 2).float()
    wanted = expected(reference, FRAMES)
    assert generated(llm, [tensor], mm_processor_kwargs={"fps": [2.0]})[: len(wanted)] == wanted
    fast = generated(llm, [tensor], mm_processor_kwargs={"fps": [2.0], "do_sample_frames": False})
    assert fast[: len(wanted)] == wanted
    with pytest.raises(ValueError, match="fps is one number, or one per video: got 2 for 1 videos"):
        generated(llm, [tensor], mm_processor_kwargs={"fps": [2.0, 1.0]})


@pytest.mark.parametrize("form", FORMS)
def test_S30_every_container_by_its_content(
    any_face: Face, reference: Reference, form: str
) -> None:
    content = film(form, 6, seed=2)
    wanted = expected(reference, shown(content))
    assert_seen(
        any_face,
        part(content, "video/x-lie"),
        wanted,
        media_io_kwargs={"video": {"num_frames": -1}},
    )


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"num_frames": 4}, [0, 3, 7, 11]),
        ({"num_frames": -1}, list(range(12))),
        ({"fps": 1}, [0, 2, 4, 6, 8, 11]),
        ({"fps": 1, "num_frames": 4}, [0, 3, 7, 11]),
        ({"fps": 1, "num_frames": 8}, [0, 2, 4, 6, 8, 11]),
        ({"fps": 1, "max_duration": 4}, [0, 3, 7, 11]),
    ],
)
def test_S30_which_frames_are_looked_at(
    any_face: Face, llm: LLM, options: dict[str, Any], chosen: list[int]
) -> None:
    """A clip of 6 s; the same as giving these frames. At a rate of its own, time runs as the rate
    says."""
    content = film("mp4", 12, seed=3)
    more = (
        {"mm_processor_kwargs": {"fps": 1.0, "do_sample_frames": False}} if "fps" in options else {}
    )
    wanted = generated(llm, shown(content)[chosen], **more)
    assert_seen(any_face, part(content), wanted, media_io_kwargs={"video": options})


def test_S30_thirty_two_frames_unless_told_otherwise(face: Face, llm: LLM) -> None:
    content = film("mp4", 40, seed=4)
    wanted = generated(llm, shown(content)[[index * 39 // 31 for index in range(32)]])
    assert_seen(face, part(content), wanted)


def test_S30_a_variable_rate_is_sampled_by_time(face: Face, llm: LLM) -> None:
    """Frames at 0, 1, 2, 3 and 12 s: at 0, 4, 8 and 12 s the fourth is seen twice."""
    content = film("mkv", 5, seed=5, rate=1, times=[0, 1, 2, 3, 12])
    wanted = generated(llm, shown(content)[[0, 3, 3, 4]])
    assert_seen(face, part(content), wanted, media_io_kwargs={"video": {"num_frames": 4}})


def test_S30_a_phones_clip_is_turned_upright(face: Face, llm: LLM) -> None:
    content = turned(film("mp4", 4, seed=6, size=(84, 56)))
    upright = np.rot90(shown(content), 3, axes=(1, 2))
    assert upright.shape == (4, 84, 56, 3)
    assert_seen(face, part(content), generated(llm, upright))


BROKEN: dict[str, Any] = {
    "audio only": (lambda: track("mp4", "aac", sound(1)), "The file holds no video."),
    "no frames": (lambda: film("mkv", 0, sound=sound(1)), "The clip holds no frames."),
    "mp4 cut": (lambda: film("mp4", 12)[:-600], "video"),
    "mkv cut": (lambda: film("mkv", 12)[:-300], "damaged"),
    "webm cut": (lambda: film("webm", 12)[:-300], "damaged"),
    "avi cut": (lambda: film("avi", 12)[:-3000], "damaged"),
    "gif cut": (lambda: film("gif", 12)[:-3000], "damaged"),
    "no clip": (lambda: b"nothing", "The video cannot be decoded"),
    "playlist": (
        lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "The video cannot be decoded",
    ),
    "concat": (lambda: b"ffconcat version 1.0\nfile /etc/passwd\n", "The video cannot be decoded"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_S30_what_is_no_whole_clip(any_face: Face, name: str) -> None:
    make, says = BROKEN[name]
    refused = refusal(any_face, part(make()))
    assert (refused.status, refused.part) == (422, "messages[0].content[0]")
    assert says in refused.text


def test_S30_a_clip_beyond_the_operators_cap(face: Face) -> None:
    refused = refusal(face, part(film("mkv", 4, rate=1, times=[0, 1, 2, 400])))
    assert refused.status == 413
    assert "at most 300 s are taken" in refused.text


def frame_list(frames: list[bytes], **about: Any) -> list[dict[str, Any]]:
    url = "data:video/jpeg;base64," + ",".join(
        data_url("", frame).partition(",")[2] for frame in frames
    )
    return [
        {"type": "video_url", "video_url": {"url": url, **about}},
        {"type": "text", "text": "What?"},
    ]


JPEGS = [encoded(picture(80 + k), "JPEG", quality=95) for k in range(6)]


def decoded() -> Any:
    return np.stack([np.asarray(Image.open(io.BytesIO(frame))) for frame in JPEGS])


def test_S31_a_list_of_frames(face: Face, reference: Reference) -> None:
    """All of them, whatever is said of how they were chosen."""
    wanted = expected(reference, decoded())
    assert_seen(face, frame_list(JPEGS), wanted)
    about = {
        "frames_indices": [0, 5, 10, 15, 20, 25],
        "total_num_frames": 30,
        "duration": 15.0,
        "do_sample_frames": False,
    }
    assert_seen(face, frame_list(JPEGS, **about), wanted)
    assert_seen(face, frame_list(JPEGS), wanted, media_io_kwargs={"video": about})


def test_S31_its_rate_is_the_time_between_them(face: Face, llm: LLM) -> None:
    wanted = generated(llm, decoded(), mm_processor_kwargs={"fps": 1.0, "do_sample_frames": False})
    assert wanted != generated(llm, decoded())
    assert_seen(face, frame_list(JPEGS, fps=1.0), wanted)


def test_S31_sampled_where_it_says_so(face: Face, llm: LLM) -> None:
    wanted = generated(llm, decoded()[[0, 5]])
    assert_seen(
        face,
        frame_list(JPEGS, do_sample_frames=True),
        wanted,
        media_io_kwargs={"video": {"num_frames": 2}},
    )


@pytest.mark.parametrize(
    ("frames", "about", "status", "says"),
    [
        ([*JPEGS[:1], b"no picture"], {}, 422, "The picture cannot be decoded"),
        ([*JPEGS[:1], encoded(picture(1, 28, 28), "JPEG")], {}, 422, "one size"),
        (
            JPEGS,
            {"frames_indices": [1]},
            400,
            "frames_indices must name each of the 6 frames, got 1",
        ),
        (JPEGS, {"fps": "fast"}, 400, "fps must be a positive number"),
    ],
)
def test_S31_a_list_that_is_none(
    any_face: Face, frames: list[bytes], about: dict[str, Any], status: int, says: str
) -> None:
    refused = refusal(any_face, frame_list(frames, **about))
    assert (refused.status, refused.part) == (status, "messages[0].content[0]")
    assert says in refused.text


def test_S32_a_damaged_frame(face: Face, llm: LLM) -> None:
    """An error, unless recovery is asked for: then the next good frame stands in."""
    whole = film("avi", 6, seed=9)
    data, starts = bytearray(whole), []
    at = whole.index(b"movi")
    while (at := whole.find(b"\xff\xd8\xff", at + 1)) > 0:
        starts.append(at)
    assert len(starts) == 6
    data[starts[2] : starts[3] - 8] = bytes(starts[3] - 8 - starts[2])
    refused = refusal(face, part(bytes(data)))
    assert refused.status == 422
    assert "damaged" in refused.text
    wanted = generated(llm, shown(whole)[[0, 1, 3, 3, 4, 5]])
    assert_seen(
        face, part(bytes(data)), wanted, media_io_kwargs={"video": {"frame_recovery": True}}
    )


# the sound of a clip


def answer_with_sound(
    reference: Reference, frames: Any, samples: Any
) -> tuple[list[int], list[int], list[float]]:
    """Of transformers: its own processor lays the sound between the frames, its own model counts
    the positions."""
    made: Any = reference._processor
    seen = made(
        text=["<|vision_bos|><|VIDEO|><|vision_eos|>"], videos=[frames], return_tensors="pt"
    )
    ear = made(
        text=["<|audio_bos|><|AUDIO|><|audio_eos|>"],
        audio=[samples],
        sampling_rate=RATE,
        return_tensors="pt",
    )
    rows = int((ear["input_ids"] == made.tokenizer.convert_tokens_to_ids(made.audio_token)).sum())
    second_per_grid = seen["video_second_per_grid"]
    run = made.replace_video_with_audio_token(
        {"video_grid_thw": seen["video_grid_thw"].numpy(),
            "video_second_per_grid": [float(second_per_grid[0])]}, 0,
        {"num_audio_tokens": [rows]}, 0, position_id_per_seconds=25, seconds_per_chunk=2.0,
    )  # fmt: skip
    text = PROMPT.replace("<|VIDEO|>", run)
    ids = made.tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        said = reference.model.generate(
            **ids,
            pixel_values_videos=seen["pixel_values_videos"],
            video_grid_thw=seen["video_grid_thw"],
            video_second_per_grid=torch.as_tensor(second_per_grid),
            input_features=ear["input_features"],
            feature_attention_mask=ear["feature_attention_mask"],
            use_audio_in_video=True,
            max_new_tokens=8,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
    best = torch.stack([step[0].float().topk(2).values for step in said.logits])
    start = ids["input_ids"].shape[1]
    whole = said.sequences[0].tolist()
    return whole[:start], whole[start:], (best[:, 0] - best[:, 1]).tolist()


@pytest.mark.parametrize(("frames", "seconds"), [(8, 4.0), (4, 4.0), (8, 1.0), (6, 2.5)])
def test_S33_the_sound_lies_between_the_frames(
    any_face: Face, reference: Reference, frames: int, seconds: float
) -> None:
    """Also where the one lasts longer than the other."""
    samples = sound(3, seconds)
    content = film("mkv", frames, seed=11, sound=samples)
    prompt, tokens, gaps = answer_with_sound(reference, shown(content), samples)
    made = ask(any_face, part(content), mm_processor_kwargs={"use_audio_in_video": True})
    assert made.prompt_token_ids == prompt
    sure = next((place for place, gap in enumerate(gaps) if gap < 1e-3), 8)
    assert sure >= 3
    assert made.token_ids[:sure] == tokens[:sure]
    assert made.media_tokens["audio"] > 0
    assert made.token_ids != ask(any_face, part(content)).token_ids


def test_S33_a_silent_clip_is_itself(face: Face) -> None:
    content = part(film("mp4", 6, seed=12))
    heard = ask(face, content, mm_processor_kwargs={"use_audio_in_video": True})
    assert heard.token_ids == ask(face, content).token_ids
    assert heard.media_tokens.get("audio", 0) == 0


def test_S33_frames_have_no_sound(face: Face) -> None:
    made = ask(face, frame_list(JPEGS), mm_processor_kwargs={"use_audio_in_video": True})
    assert made.token_ids == ask(face, frame_list(JPEGS)).token_ids
