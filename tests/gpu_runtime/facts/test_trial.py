"""Numbers that only a tower's own code looks at: what would fail at every item is the sentence of
the start."""

import json
from pathlib import Path
from typing import Any

import pytest

from thespis.gpu_runtime.facts.model import model_facts
from thespis.protocol.errors import EngineError

from ...zoo.catalog import build


def refusal(folder: Path, file: str, **changes: Any) -> str:
    said = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**said, **changes}))
    with pytest.raises(EngineError) as caught:
        model_facts(folder)
    return str(caught.value)


@pytest.mark.parametrize("name", ["llava", "llava_next", "aya_vision"])
def test_a_layer_that_the_tower_does_not_have(name: str, tmp_path: Path) -> None:
    text = refusal(build(name, tmp_path), "config.json", vision_feature_layer=99)
    assert text.startswith("Every image would fail in ")
    assert "do not fit together" in text


def test_as_many_rows_as_the_processor_writes(tmp_path: Path) -> None:
    """All of the tower's rows go into the prompt, or all but the first: files may differ in
    that."""
    text = refusal(build("llava", tmp_path), "processor_config.json", num_additional_image_tokens=5)
    assert "are needed" in text
