import json
import shutil
from pathlib import Path

import pytest

from thespis.protocol.checkpoint.folder import demo_model, inspect, inspect_small_files
from thespis.protocol.errors import EngineError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_model(), tmp_path / "model"))


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_bundled_model_is_read() -> None:
    info = inspect(demo_model())
    assert info.model_type == "qwen2_5_omni_thinker"
    assert len(info.fingerprint) == 64


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"No model at .*nowhere"):
        inspect(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer.json"),
        ("model.safetensors", "no .*weights"),
    ],
)
def test_a_file_that_is_missing_is_named(folder: Path, missing: str, words: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(EngineError, match=words):
        inspect(folder)


def test_a_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(EngineError, match=r"config\.json"):
        inspect(folder)


def test_a_config_without_a_type_is_broken(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="model_type is missing"):
        inspect(folder)


@pytest.mark.parametrize(
    "where", [(), ("thinker_config",), ("text_config",), ("thinker_config", "text_config")]
)
def test_quantised_weights_are_refused_whichever_part_says_so(
    folder: Path, where: tuple[str, ...]
) -> None:
    said: dict[str, object] = {"quantization_config": {"quant_method": "hqq", "bits": 4}}
    for part in reversed(where):
        said = {part: said}
    edit(folder, **said)
    with pytest.raises(EngineError, match=r"quantised \(hqq\)"):
        inspect(folder)


def test_small_files_can_be_judged_before_the_weights_are_there(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert inspect_small_files(folder) == (folder, "qwen2_5_omni_thinker")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EngineError, match=r"no tokenizer\.json"):
        inspect_small_files(folder)


def test_a_tokenizer_in_mistrals_own_form_is_named_with_what_to_do(folder: Path) -> None:
    """Voxtral's is published so."""
    (folder / "tokenizer.json").rename(folder / "tekken.json")
    with pytest.raises(
        EngineError, match=r"as tekken\.json alone.* convert_tekken_tokenizer\('tekken\.json'\)"
    ):
        inspect(folder)


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, (1 << 40).to_bytes(8, "little") + b"{}"])
def test_torn_weights_are_found_before_anything_starts(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(EngineError, match="broken"):
        inspect(folder)


def test_the_fingerprint_follows_weights_and_processor(folder: Path) -> None:
    before = inspect(folder).fingerprint
    assert before == inspect(demo_model()).fingerprint, "it does not depend on the place"
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    after = inspect(folder).fingerprint
    assert after != before
    (folder / "processor_config.json").write_text("{}")
    assert inspect(folder).fingerprint != after
