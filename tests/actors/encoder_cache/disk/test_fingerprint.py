"""Whatever an embedding depends on is told apart."""

import shutil
from pathlib import Path

import msgspec
import pytest

from thespis.actors.encoder_cache.disk import fingerprint as fingerprints
from thespis.actors.encoder_cache.disk.fingerprint import fingerprint
from thespis.gpu_runtime.models.encoder import load_encoder
from thespis.protocol.config.roles import EncoderCacheConfig, Threads

from ....helpers.checkpoints import Checkpoints
from ....helpers.facts import facts_of


def config_of(folder: Path) -> EncoderCacheConfig:
    return EncoderCacheConfig(
        model=msgspec.structs.replace(facts_of(folder), path=str(folder)), dtype="float32",
        device="cpu", threads=Threads(1, 1, 1), native_kernels=False, store_bytes=1,
        max_batch_rows=1,
    )  # fmt: skip


@pytest.fixture
def folder(checkpoints: Checkpoints, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoints("qwen_vl"), tmp_path / "copy"))


def test_the_same_model_is_the_same_wherever_it_lies(
    folder: Path, checkpoints: Checkpoints
) -> None:
    here = config_of(checkpoints("qwen_vl"))
    copied = msgspec.structs.replace(
        here, model=msgspec.structs.replace(here.model, path=str(folder))
    )
    assert fingerprint(here, "w") == fingerprint(copied, "w")
    roomy = msgspec.structs.replace(copied, threads=Threads(2, 1, 2), store_bytes=9)
    assert fingerprint(here, "w") == fingerprint(roomy, "w")


@pytest.mark.parametrize(
    "file", ["preprocessor_config.json", "video_preprocessor_config.json", "tokenizer_config.json"]
)
def test_a_setting_of_the_processor_changes_it(folder: Path, file: str) -> None:
    config = config_of(folder)
    before = fingerprint(config, "w")
    path = folder / file
    path.write_text((path.read_text() if path.exists() else "{}") + " ")
    assert fingerprint(config, "w") != before


def test_what_computes_changes_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(folder)
    made = {fingerprint(config, "w"), fingerprint(config, "other weights")}
    for change in ({"dtype": "bfloat16"}, {"deterministic": True}, {"native_kernels": True}):
        made.add(fingerprint(msgspec.structs.replace(config, **change), "w"))
    for name in ("sources", "version", "_version", "_processor"):
        with monkeypatch.context() as patch:
            patch.setattr(fingerprints, name, lambda *_: "another")
            made.add(fingerprint(config, "w"))
    assert len(made) == 9


def test_every_number_of_a_tower_counts(folder: Path) -> None:
    """Also where a fingerprint that reads parts of files sees no difference."""
    facts = msgspec.structs.replace(facts_of(folder), path=str(folder))
    before = load_encoder(facts, "float32", "cpu", 1, digested=True).weights
    assert before == load_encoder(facts, "float32", "cpu", 1, digested=True).weights
    assert load_encoder(facts, "float32", "cpu", 1).weights == ""
    [file] = folder.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    place = tower_byte(data)
    data[place] ^= 1
    file.write_bytes(data)
    assert load_encoder(facts, "float32", "cpu", 1, digested=True).weights != before


def tower_byte(file: bytearray) -> int:
    """Where a number of the picture tower lies: the lowest byte of one in the middle."""
    length = int.from_bytes(file[:8], "little")
    header = msgspec.json.decode(file[8 : 8 + length])
    name = next(name for name in header if "visual" in name and name.endswith("weight"))
    first, last = header[name]["data_offsets"]
    return int(8 + length + first + (last - first) // 8 * 4)
