"""GGUF files in place of a checkpoint: a path, a folder, or a choice among those of a model on a
hub."""

import os
import shutil
import struct
import threading
from pathlib import Path

import pytest

from thespis.frontends.hub import gguf as gguf_module
from thespis.frontends.hub.fetch import Stopped
from thespis.frontends.hub.gguf import folder_around, gguf_of
from thespis.frontends.hub.gguf_choice import chosen
from thespis.frontends.hub.held import why_not
from thespis.frontends.hub.locate import located
from thespis.gpu_runtime.gguf.prepare import prepare
from thespis.protocol.checkpoint.folder import inspect
from thespis.protocol.checkpoint.gguf_file import MOST_HEADER
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError

from ...helpers.gguf_files import Quant, write_gguf
from ...helpers.hub import FakeHub
from ...zoo.catalog import Zoo

pytestmark = pytest.mark.timeout(60)
NAME = "org/Tiny-GGUF"
FILES = (
    "Tiny-Q4_K_M.gguf",
    "Tiny-Q8_0.gguf",
    "Tiny-IQ4_XS.gguf",
    "mmproj-F16.gguf",
    "Tiny.imatrix.gguf",
)


@pytest.fixture(scope="module")
def file(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(zoo("qwen3"), tmp_path_factory.mktemp("gguf") / "Tiny-Q8_0.gguf", Quant.Q8_0)


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "made"))
    return tmp_path / "made" / "thespis" / "gguf"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are made by this process, which has imported what that needs."""

    def run(path: Path, folder: Path, beside: Path | None, stop: threading.Event | None) -> None:
        prepare(path, folder, *filter(None, [beside]))

    monkeypatch.setattr(gguf_module, "_run", run)


@pytest.mark.parametrize(
    ("names", "choice", "file"),
    [
        (FILES, None, "Tiny-Q4_K_M.gguf"),
        (FILES, "Q8_0", "Tiny-Q8_0.gguf"),
        (FILES, "q8_0", "Tiny-Q8_0.gguf"),
        (FILES, "IQ4_XS", "Tiny-IQ4_XS.gguf"),
        (FILES, "Tiny-Q8_0.gguf", "Tiny-Q8_0.gguf"),
        (("only.gguf", "mmproj-only.gguf", "config.json"), None, "only.gguf"),
        (("a.Q4_0.gguf", "a.IQ4_0.gguf"), "Q4_0", "a.Q4_0.gguf"),
    ],
)
def test_a_file_is_chosen_by_its_last_word(
    names: tuple[str, ...], choice: str | None, file: str
) -> None:
    assert chosen(names, choice, NAME) == file


@pytest.mark.parametrize(
    ("names", "choice", "words"),
    [
        (
            FILES,
            "Q2_K",
            "no GGUF file 'Q2_K': choose one of Tiny-IQ4_XS.gguf, Tiny-Q4_K_M.gguf, Tiny-Q8_0.gguf",
        ),
        (("a-Q8_0.gguf", "b-Q8_0.gguf"), None, "several GGUF files: choose one of"),
        (
            ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"),
            None,
            "in one piece (only parts of some)",
        ),
        (("mmproj.gguf",), None, "no GGUF file of a text model"),
        (("Q8_0/a-Q8_0.gguf",), "Q8_0", "no GGUF file of a text model"),
    ],
)
def test_what_cannot_be_chosen_is_told_with_what_there_is(
    names: tuple[str, ...], choice: str | None, words: str
) -> None:
    with pytest.raises(EngineError) as refused:
        chosen(names, choice, NAME)
    assert words in str(refused.value)


def test_a_folder_is_made_around_a_file_once(file: Path, made: Path) -> None:
    config = located(EngineConfig(model=str(file), seed=3))
    assert (config.name, config.seed) == ("Tiny-Q8_0", 3)
    assert Path(config.model).parent == made
    checkpoint = inspect(config.model)
    assert checkpoint.model_type == "qwen3"
    before = (Path(config.model) / "config.json").stat().st_ino
    assert located(EngineConfig(model=str(file))).model == config.model
    assert why_not(file.parent) is None, "in a cache it runs as a start from it would"
    assert (Path(config.model) / "config.json").stat().st_ino == before
    assert [path.name for path in made.iterdir()] == [Path(config.model).name], "no drafts are left"


def test_a_file_is_known_by_its_content_and_a_folder_by_its_one_file(
    file: Path, tmp_path: Path
) -> None:
    blob = tmp_path / "sha256-abc"
    blob.symlink_to(file)
    assert gguf_of(str(blob)) == (blob, None)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert gguf_of(str(folder)) is None
    shutil.copyfile(file, folder / file.name)
    (folder / "mmproj-F16.gguf").touch()
    assert gguf_of(str(folder)) == (folder / file.name, folder)
    (folder / "model.safetensors").touch()
    assert gguf_of(str(folder)) is None
    assert gguf_of("org/name") is None
    assert gguf_of("a\0b") is None


def test_a_header_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    """Sparse: the length that it states is within the file."""
    path = tmp_path / "x.gguf"
    path.write_bytes(header(text("a") + struct.pack("<IQ", 8, MOST_HEADER), 1))
    os.truncate(path, 2 * MOST_HEADER)
    with pytest.raises(EngineError, match="its header is beyond all measure"):
        folder_around(path, None)


def test_a_tokenizer_beside_it_is_what_it_is_now(
    file: Path, zoo: Zoo, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Folders whose names look like those of its files are none of them."""
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copyfile(file, folder / file.name)
    shutil.copyfile(zoo("qwen3") / "tokenizer.json", folder / "tokenizer.json")
    (folder / "tokens").mkdir()
    (folder / "chat_templates").mkdir()
    template = folder / "chat_template.jinja"
    template.write_text("one")
    first = located(EngineConfig(model=str(folder)))
    assert (Path(first.model) / template.name).read_text() == "one"
    template.write_text("two")
    request.getfixturevalue("here")
    second = located(EngineConfig(model=str(folder)))
    assert (Path(second.model) / template.name).read_text() == "two"


def test_a_refusal_is_one_sentence_and_leaves_nothing(zoo: Zoo, tmp_path: Path, made: Path) -> None:
    path = write_gguf(zoo("olmo2"), tmp_path / "x.gguf", Quant.F16)
    with pytest.raises(
        EngineError,
        match=r"^x\.gguf is of GGUF's architecture 'olmo2', which is not read; .* transformers\.$",
    ):
        folder_around(path, None)
    assert list(made.iterdir()) == []


def test_a_start_that_is_given_up_ends_soon(file: Path, made: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        folder_around(file, None, stop)
    assert list(made.iterdir()) == []


def test_a_missing_library_is_named_with_its_extra(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_module, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"a library is missing: pip install 'thespis\[gguf\]'"):
        folder_around(file, None)


@pytest.mark.usefixtures("here")
def test_the_chosen_file_alone_is_fetched_and_found_again(
    hub: FakeHub, cache: Path, file: Path
) -> None:
    data = file.read_bytes()
    hub.add(
        NAME,
        {
            "Tiny-Q8_0.gguf": data,
            "Tiny-Q4_K_M.gguf": b"GGUF" + bytes(20_000),
            "config.json": b"{}",
            "README.md": b"x",
        },
    )
    config = located(EngineConfig(model=f"{NAME}:Q8_0", download_dir=str(cache)))
    assert config.name == f"{NAME}:Q8_0"
    assert inspect(config.model).model_type == "qwen3"
    assert sorted(hub.fetched()) == ["Tiny-Q8_0.gguf", "config.json"]
    hub.asked.clear()
    commit = hub.repositories[NAME].branches["main"]
    again = located(EngineConfig(model=f"{NAME}:q8_0@{commit}", download_dir=str(cache)))
    assert again.model == config.model
    assert hub.asked == [], "a full commit whose file is here asks nobody"


def test_a_cache_with_several_files_says_to_choose_one(file: Path, tmp_path: Path) -> None:
    for name in ("Tiny-Q8_0.gguf", "Tiny-Q6_K.gguf"):
        (tmp_path / name).symlink_to(file)
    reason = why_not(tmp_path)
    assert reason is not None
    assert "several GGUF files: choose one of Tiny-Q6_K.gguf, Tiny-Q8_0.gguf" in reason


def test_a_choice_that_is_not_there_is_refused_before_anything_is_fetched(
    hub: FakeHub, cache: Path
) -> None:
    hub.add(NAME, dict.fromkeys(FILES, b"GGUF"))
    with pytest.raises(EngineError, match=r"no GGUF file 'Q2_K': choose one of Tiny-IQ4_XS\.gguf"):
        located(EngineConfig(model=f"{NAME}:Q2_K", download_dir=str(cache)))
    assert hub.fetched() == []


def header(fields: bytes = b"", count: int = 0, tensors: int = 0, version: int = 3) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, count) + fields


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")
HUGE = text("w") + struct.pack("<I2QIQ", 2, 1 << 20, 1 << 20, 0, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GGUF", "its header is cut"),
        (header(version=1), "of version 1"),
        (header(tensors=1 << 40), "beyond all measure"),
        (header(count=1 << 40), "beyond all measure"),
        (header(ARCHITECTURE, 2), "its header is cut"),
        (header(b"", 0), "names no architecture"),
        (header(text("a") + struct.pack("<IIQ", 9, 8, 1 << 50), 1), "its header is cut"),
        (header(text("a") + struct.pack("<IIQ", 9, 4, 1 << 50), 1), "its header is cut"),
        (header(text("a") + struct.pack("<IIQ", 9, 9, 1), 1), "a list of type 9"),
        (header(struct.pack("<Q", 1 << 60), 1), "its header is cut"),
        (header(ARCHITECTURE + HUGE, 1, 1), "it is cut"),
        (header(ARCHITECTURE + text("w") + struct.pack("<I", 9), 1, 1), "9 dimensions"),
        (
            header(ARCHITECTURE + text("w") + struct.pack("<IQIQ", 1, 33, 2, 0), 1, 1),
            r"has the shape \[33\]",
        ),
        (
            header(ARCHITECTURE + text("w") + struct.pack("<IQIQ", 1, 32, 99, 0), 1, 1),
            "of GGUF's type 99, which is not read",
        ),
        (
            header(ARCHITECTURE + text("split.count") + struct.pack("<IH", 2, 3), 2),
            "one of 3 parts of a GGUF file, which are not read: join them",
        ),
        (
            header(ARCHITECTURE + text("split.count") + struct.pack("<I", 8) + text("two"), 2),
            "its split.count is none",
        ),
    ],
)
def test_a_broken_file_is_told_before_anything_is_allocated(
    data: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(EngineError, match=words):
        folder_around(path, None)
