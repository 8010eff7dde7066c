import os
from pathlib import Path

import pytest

from thespis.actors.fetcher.local import open_local, read_at_hand, read_local
from thespis.actors.fetcher.policy import FetchError

CAP = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    allowed = tmp_path / "allowed"
    (allowed / "inner").mkdir(parents=True)
    (allowed / "a b.png").write_bytes(b"picture")
    (allowed / "inner" / "c.png").write_bytes(b"inner")
    (allowed / "big").write_bytes(b"x" * (CAP + 1))
    (tmp_path / "secret").write_bytes(b"secret")
    (allowed / "link").symlink_to(tmp_path / "secret")
    (allowed / "dirlink").symlink_to(tmp_path)
    os.mkfifo(allowed / "fifo")
    return allowed


@pytest.mark.parametrize(
    ("name", "data"),
    [("a%20b.png", b"picture"), ("inner/c.png", b"inner"), ("./inner//c.png", b"inner")],
)
@pytest.mark.parametrize("host", ["", "localhost"])
def test_S5_files_below_the_folder_are_read(
    folder: Path, name: str, data: bytes, host: str
) -> None:
    assert read_local(f"file://{host}{folder}/{name}", str(folder), CAP) == data


@pytest.mark.parametrize(
    "name",
    [
        "link", "dirlink/secret", "fifo", "inner", "", ".", "missing", "../secret", "%2e%2e/secret",
        "inner/../../secret",
        "inner%2f..%2f..%2fsecret", "a b.png%00", "../allowed-not", "inner/c.png/x",
    ],
)  # fmt: skip
def test_S5_nothing_else_is(folder: Path, name: str) -> None:
    with pytest.raises(FetchError) as caught:
        read_local(f"file://{folder}/{name}", str(folder), CAP)
    assert str(folder) not in caught.value.text
    assert "secret" not in caught.value.text


def test_S5_a_sibling_with_the_same_beginning_is_outside(folder: Path) -> None:
    (folder.parent / "allowed2").write_bytes(b"x")
    with pytest.raises(FetchError, match="leads out"):
        read_local(f"file://{folder}2", str(folder), CAP)


def test_S5_other_hosts_are_refused(folder: Path) -> None:
    with pytest.raises(FetchError):
        read_local(f"file://elsewhere{folder}/a%20b.png", str(folder), CAP)


def test_S5_off_by_default_and_the_error_names_the_flag(folder: Path) -> None:
    with pytest.raises(FetchError, match="--allowed-local-media-path"):
        read_local(f"file://{folder}/a%20b.png", None, CAP)


def test_S8_a_file_over_the_cap_is_too_large(folder: Path) -> None:
    with pytest.raises(FetchError) as caught:
        read_local(f"file://{folder}/big", str(folder), CAP)
    assert caught.value.kind == "too_large"


def test_a_file_of_exactly_the_cap_is_read(folder: Path) -> None:
    (folder / "full").write_bytes(b"x" * CAP)
    assert len(read_local(f"file://{folder}/full", str(folder), CAP)) == CAP


def at_hand(url: str, folder: Path) -> bytearray | None:
    file = open_local(url, str(folder), CAP)
    if file is None:
        return None
    data = bytearray(file.nbytes)
    read = read_at_hand(file, memoryview(data))
    os.close(file.descriptor)
    return data if read else None


@pytest.mark.parametrize("name", ["a%20b.png", "inner/c.png", "empty"])
def test_what_is_in_memory_is_at_hand(folder: Path, name: str) -> None:
    (folder / "empty").touch()
    url = f"file://{folder}/{name}"
    assert at_hand(url, folder) == read_local(url, str(folder), CAP)


@pytest.mark.parametrize("name", ["big", "fifo", "inner"])
def test_what_is_too_large_or_no_file_is_not_at_hand(folder: Path, name: str) -> None:
    assert at_hand(f"file://{folder}/{name}", folder) is None


@pytest.mark.parametrize("name", ["link", "missing", "../secret"])
def test_S5_what_may_not_be_read_is_refused_at_hand_too(folder: Path, name: str) -> None:
    with pytest.raises(FetchError):
        at_hand(f"file://{folder}/{name}", folder)


def test_a_file_that_grows_or_shrinks_is_not_at_hand(folder: Path) -> None:
    for size in (CAP, 3):
        file = open_local(f"file://{folder}/a%20b.png", str(folder), CAP)
        assert file is not None
        (folder / "a b.png").write_bytes(b"x" * size)
        assert not read_at_hand(file, memoryview(bytearray(file.nbytes)))
        os.close(file.descriptor)


def test_what_would_wait_for_a_disk_is_not_at_hand(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", waits)
    assert at_hand(f"file://{folder}/a%20b.png", folder) is None
