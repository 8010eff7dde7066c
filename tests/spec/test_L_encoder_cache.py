"""S65: what was encoded once is not fetched, decoded or encoded again, by a later engine or by one
beside; whatever happens to the folder or to who writes into it, answers are the same."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from thespis import LLM, SamplingParams
from thespis.protocol.topology import ENCODER_CACHE

from ..helpers import pdfs
from ..helpers.checkpoints import Checkpoints
from ..helpers.media import RATE, clip, clip_frames, picture, png, sound
from .counting import Watch, Work

pytestmark = pytest.mark.process

GREEDY = SamplingParams(temperature=0.0, max_tokens=6, ignore_eos=True)
MARKS = {
    "image": "<|vision_bos|><|IMAGE|><|vision_eos|>",
    "video": "<|vision_bos|><|VIDEO|><|vision_eos|>",
    "audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
}
ID_ALONE: dict[str, Any] = {"type": "image_url", "image_url": None, "uuid": "mine"}
Given = tuple[str, int]
"""Modality and seed."""
KNOWN: tuple[Given, ...] = (("image", 1), ("video", 2), ("audio", 3))


def media(given: Given) -> Any:
    kind, seed = given
    if kind == "image":
        return picture(seed)
    return clip_frames(clip(seed)) if kind == "video" else (sound(seed), RATE)


def ask(llm: LLM, words: str, *given: Given) -> list[int]:
    """Words first: what only begins like an earlier prompt is not found in the prefix cache."""
    data: dict[str, list[Any]] = {}
    for one in given:
        data.setdefault(one[0], []).append(media(one))
    prompt = f"{words} {''.join(MARKS[kind] for kind, _ in given)}"
    asked: Any = {"prompt": prompt, "multi_modal_data": data}
    (output,) = llm.generate(asked, GREEDY, use_tqdm=False)
    return list(output.outputs[0].token_ids)


def wait_for(llm: LLM, written: int) -> None:
    """Writing is nobody's business; that it is done, its process tells now and then."""
    deadline = time.monotonic() + 20
    while llm.status().stats[ENCODER_CACHE].get("disk_written", 0.0) < written:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_encoder_cache(llm: LLM) -> None:
    os.kill(llm.status().pids[ENCODER_CACHE], signal.SIGKILL)


def test_S65_two_engines_on_one_folder_and_what_happens_to_it(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "model": checkpoints("qwen_omni"), "dtype": "float32", "max_model_len": 1024,
        "encoder_cache_dir": tmp_path / "kept", "mm_processor_cache_gb": 0.001,
        "allowed_local_media_path": tmp_path,
    }  # fmt: skip
    file = tmp_path / "picture.png"
    file.write_bytes(png(picture(9)))
    url: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": file.as_uri()}},
        {"type": "text", "text": "What?"},
    ]

    sheets = pdfs.of_pictures([picture(seed) for seed in (11, 12, 13)])
    paper: list[dict[str, Any]] = [
        {"type": "document", "document": sheets, "dpi": 72}, {"type": "text", "text": "And?"},
    ]  # fmt: skip

    def look(llm: LLM, content: Any = url) -> list[int]:
        (output,) = llm.chat([{"role": "user", "content": content}], GREEDY, use_tqdm=False)
        return list(output.outputs[0].token_ids)

    with LLM(**options) as first:
        alone = [ask(first, "What is it?", one) for one in KNOWN]
        together = ask(first, "And these?", *KNOWN)
        named, by_id = [url[0] | {"uuid": "mine"}, url[1]], [ID_ALONE, url[1]]
        seen, read = look(first, named), look(first, paper)
        wait_for(first, 8)

        with LLM(**options) as second:  # it has never seen anything
            watch = Watch(second)
            assert [ask(second, "What is it?", one) for one in KNOWN] == alone
            assert ask(second, "And these?", *KNOWN) == together
            assert look(second, by_id) == seen
            assert look(second) == seen
            assert look(second, paper) == read
            assert look(second, [paper[0] | {"pages": "3,1"}, paper[1]]) != read
            assert watch.done() == Work(0, 0, 0)

            # Both under load, one loses its encoder-cache while that writes.
            new: list[Given] = [("image", seed) for seed in range(20, 32)]
            with ThreadPoolExecutor(8) as pool:
                asked = [
                    (pool.submit(ask, first, "Say", one), pool.submit(ask, second, "Say", one))
                    for one in new
                ]
                kill_encoder_cache(second)
                said = [(one.result(), other.result()) for one, other in asked]
            assert [one for one, _ in said] == [other for _, other in said]
            assert [ask(second, "Say again", one) for one in new] == [
                ask(first, "Say again", one) for one in new
            ]

            # Whatever is done to the files: a miss.
            kill_encoder_cache(second)
            files = [path for path in (tmp_path / "kept").rglob("*-*") if path.is_file()]
            assert len(files) >= 4
            for place, path in enumerate(files):
                data = path.read_bytes()
                others = files[place - 1].read_bytes()
                middle = len(data) // 2
                harm = (
                    data[:middle], bytes(len(data)), others,
                    data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :],
                )  # fmt: skip
                path.write_bytes(harm[place % 4])
            watch = Watch(second)
            assert [ask(second, "Once more: what is it?", one) for one in KNOWN] == [
                ask(first, "Once more: what is it?", one) for one in KNOWN
            ]
            assert watch.done().decoded == 3
            told = second.status().stats[ENCODER_CACHE]  # of the process that came after
            assert told["encoded_items"] >= 3
            assert told["disk_damaged"] >= 2  # the first may have been asked of the dead one
