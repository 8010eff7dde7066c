"""Nothing that a checkpoint says holds a start, or fills the machine, while it is found out what
the model is."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from thespis.actors.facts import actor
from thespis.actors.facts.actor import found, preload
from thespis.gpu_runtime.facts.model import model_facts
from thespis.protocol.errors import EngineError
from thespis.tests.zoo.catalog import Zoo, build

ENDLESS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3


def changed(folder: Path, file: str, **changes: Any) -> str:
    said = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**said, **changes}))
    return str(folder)


def test_a_whole_model_is_found_within_the_limits(zoo: Zoo) -> None:
    assert found(str(zoo("llava"))) == model_facts(zoo("llava"))


def test_a_template_without_an_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build("llava", tmp_path)
    for file in folder.glob("chat_template*"):
        file.unlink()
    monkeypatch.setattr(actor, "CPU_SECONDS", 2.0)
    began = time.process_time()
    with pytest.raises(
        EngineError,
        match=r"takes more than 2 s of CPU time to find out: its chat template, or a number",
    ):
        found(changed(folder, "tokenizer_config.json", chat_template=ENDLESS))
    assert time.process_time() - began < 5.0


def test_a_small_picture_that_becomes_a_huge_one_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = {"height": 16_000, "width": 16_000}
    folder = changed(
        build("llava", tmp_path), "preprocessor_config.json", size=huge, crop_size=huge
    )
    monkeypatch.setattr(actor, "ITEM_MEMORY", 512 << 20)
    with pytest.raises(
        EngineError,
        match=r"^A small item takes the model in .* more than 0 GiB: its chat template, or a num",
    ):
        found(folder)


def resident(which: str) -> int:
    """Bytes: of VmRSS what is in memory now, of VmHWM what has been at once."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[which].split()[0]) << 10


@pytest.mark.parametrize("look", [found, preload])
def test_a_processor_that_fills_the_memory_before_it_sees_an_item_is_given_up(
    look: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters for 200,000 pitches, more than a gigabyte, are made with the processor: in the
    zygote, too."""
    folder = changed(
        build("qwen2_audio", tmp_path), "preprocessor_config.json", feature_size=200_000
    )
    monkeypatch.setattr(actor, "ITEM_MEMORY", 128 << 20)
    Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM counts anew
    before = resident("VmRSS")
    with (
        pytest.raises(EngineError, match="cannot be built from") if look is found else nullcontext()
    ):
        look(folder)
    assert resident("VmHWM") - before < 256 << 20
