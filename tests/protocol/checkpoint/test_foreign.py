"""What is said to somebody who gives something else than a checkpoint folder: what it is, and what
to give."""

import json
import shutil
import struct
import zipfile
from pathlib import Path

import pytest

from thespis.protocol.checkpoint.end_tokens import end_tokens
from thespis.protocol.checkpoint.folder import demo_model, inspect
from thespis.protocol.checkpoint.foreign import foreign_listing
from thespis.protocol.errors import EngineError


def told(path: Path | str) -> str:
    with pytest.raises(EngineError) as refused:
        inspect(path)
    text = str(refused.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.gguf", b"GGUF\x03\0\0\0", "GGUF file"),
        ("x.bin", b"GGUF\x03\0\0\0", "GGUF file"),
        ("no-ending", b"GGUF\x03\0\0\0", "GGUF file"),
        ("model.safetensors", b"", "a file of weights alone"),
        ("pytorch_model.bin", b"PK\x03\x04", "pickled PyTorch weights"),
        ("x.pt", b"\x80\x02", "pickled PyTorch weights"),
        ("x.pth", b"", "pickled PyTorch weights"),
        ("x.ckpt", b"", "pickled PyTorch weights"),
        ("x.onnx", b"", "ONNX"),
        ("x.h5", b"\x89HDF", "Keras"),
        ("x.tar.gz", b"", "unpack it"),
        ("x.zip", b"PK\x03\x04", "unpack it"),
        ("notes.txt", b"hello", "is a file, but no GGUF file: give such a one"),
    ],
)
def test_a_file(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    text = told(tmp_path / name)
    assert words in text
    assert name in text
    assert "the folder of a Hugging Face checkpoint" in text


def test_one_file_of_a_checkpoint_names_its_folder() -> None:
    for name in ("config.json", "model.safetensors"):
        assert f"give the folder that holds it, {str(demo_model())!r}" in told(demo_model() / name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Qwen/Qwen2-VL-2B-Instruct/", "or its id on a hub (ORG/NAME)"),
        ("qwen:7b", "an Ollama model"),
        ("library/qwen2.5:7b-q4", "an Ollama model"),
        ("https://example.org/model", "is an address"),
        ("s3://bucket/model", "is an address"),
        ("hf://Qwen/Qwen2", "is an address"),
        ("./nowhere", "No model at './nowhere'"),
        ("a/b/c", "No model at 'a/b/c'"),
        ("~nobody-there/x", "No model at"),
        ("x" * 5000, "No model at"),
        ("a\0b", "No model at"),
        ("gpt2", "No model at 'gpt2'"),
        ("gpt2", "give a GGUF file, or"),
    ],
)
def test_a_name(name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in told(name)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "an empty folder"),
        (("adapter_config.json", "adapter_model.safetensors"), "LoRA adapter"),
        (("config.json", "adapter_config.json"), "LoRA adapter"),
        (("model_index.json", "unet/config.json"), "diffusers"),
        (("params.json", "consolidated.00.pth"), "its maker's own format"),
        (("q4.gguf", "q8.gguf"), "GGUF file"),
        (("pytorch_model.bin",), "pickled PyTorch weights"),
        (("snapshots/abc/config.json", "refs/main"), "snapshots/abc"),
        (("final/config.json", "log.txt"), "final"),
        (("readme.md",), "no config.json"),
    ],
)
def test_a_folder(tmp_path: Path, files: tuple[str, ...], words: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert words in told(tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("config.json", "pytorch_model.bin", "tokenizer.json"), "pickled PyTorch weights"),
        (("q4.gguf", "README.md"), "GGUF file"),
        (("config.json", "model-q8.gguf"), "GGUF file"),
        (("adapter_config.json", "adapter_model.safetensors"), "LoRA adapter"),
        (("params.json", "consolidated.safetensors", "tekken.json"), "its maker's own format"),
        (("model_index.json", "unet/config.json"), "diffusers"),
        (("model.safetensors", "tokenizer.json"), "it has no config.json"),
        (("config.json", "onnx/model.onnx"), "ONNX"),
        (("config.json", "original/model.safetensors"), "it has no weights (*.safetensors)"),
        ((".gitattributes",), "it has no config.json"),
    ],
)
def test_a_model_on_a_hub_that_is_no_checkpoint(files: tuple[str, ...], words: str) -> None:
    text = foreign_listing(frozenset(files), "org/name")
    assert text is not None
    assert text.startswith("'org/name' ")
    assert words in text


def test_a_model_on_a_hub_that_may_be_one() -> None:
    assert (
        foreign_listing(
            {"config.json", "model-00001-of-00002.safetensors", "pytorch_model.bin", "params.json"},
            "x/y",
        )
        is None
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(demo_model(), tmp_path / "model", ignore=shutil.ignore_patterns("media"))
    )


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_pickled_weights_beside_a_config_are_said_to_be_that(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "its own are pickled" in told(folder)


def test_quantised_weights_are_said_to_be_that(folder: Path) -> None:
    edit(folder, quantization_config={"quant_method": "hqq", "bits": 4})
    assert "quantised (hqq)" in told(folder)


def test_a_shard_that_an_index_names_is_missed(folder: Path) -> None:
    weights = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    assert "lacks model-00002-of-00002.safetensors" in told(folder)


@pytest.mark.parametrize("kept", [0.3, 0.999])
def test_weights_that_were_cut_are_found_by_their_header(folder: Path, kept: float) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert "its header promises" in told(folder)


@pytest.mark.parametrize(
    "header",
    [b"[]", b"{", b'{"a":7}', b'{"a":{"data_offsets":"x"}}', b'{"a":{"data_offsets":[0,1e99]}}'],
)
def test_a_header_that_is_none(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "broken" in told(folder)


def test_a_pointer_of_git_lfs_is_said_to_be_one(folder: Path) -> None:
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    assert "git lfs pull" in told(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\x00", "[" * 100_000])
def test_a_json_file_that_is_none(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    assert name in told(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    text = told(folder)
    assert name in text
    assert "cannot be read" in text


def test_a_config_of_a_strange_part_is_broken(folder: Path) -> None:
    (folder / "config.json").write_text('{"thinker_config": 7}')
    assert "is broken" in told(folder)


def test_end_tokens_that_are_none(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": ["<end>"]}')
    with pytest.raises(EngineError, match="no token id"):
        end_tokens(folder, ())


def test_a_zip_of_weights_under_no_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert "is a file" in told(tmp_path / "model")
