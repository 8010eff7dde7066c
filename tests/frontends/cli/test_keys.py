"""API keys on their way from a person to the server: by flag, file or variable, and into nobody
else's sight."""

import subprocess
import sys
from pathlib import Path

import pytest

from thespis.frontends.cli.main import without_keys
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.config.server_keys import with_keys
from thespis.protocol.errors import EngineError


def test_keys_come_from_flags_and_a_file_together(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbfone\r\n\n  two \nth ree\n")
    server = with_keys(
        ServerConfig(api_key=("zero",), api_key_file=str(file)), {"THESPIS_API_KEY": "other"}
    )
    assert server.api_key == ("zero", "one", "two", "th ree")
    assert with_keys(server, {}) == server


@pytest.mark.parametrize(
    ("environ", "keys"),
    [
        ({}, ()),
        ({"VLLM_API_KEY": "theirs"}, ("theirs",)),
        ({"THESPIS_API_KEY": "ours"}, ("ours",)),
        ({"THESPIS_API_KEY": "ours", "VLLM_API_KEY": "theirs"}, ("ours",)),
        ({"THESPIS_API_KEY": "", "VLLM_API_KEY": "theirs"}, ("theirs",)),
        ({"THESPIS_API_KEY": " ours\n"}, ("ours",)),
        ({"THESPIS_API_KEY": "one,two"}, ("one,two",)),
        ({"THESPIS_API_KEY": " "}, ()),
    ],
)
def test_S7_without_flags_the_environment_has_the_key(
    environ: dict[str, str], keys: tuple[str, ...]
) -> None:
    assert with_keys(ServerConfig(), environ).api_key == keys
    assert with_keys(ServerConfig(api_key=("told",)), environ).api_key == ("told",)


@pytest.mark.parametrize("content", [None, b"", b"\n \n"])
def test_a_key_file_without_a_key_never_opens_the_server(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EngineError, match="api_key_file"):
        with_keys(ServerConfig(api_key_file=str(file)), {"THESPIS_API_KEY": "ours"})


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["thespis", "serve"], ["thespis", "serve"]),
        (["serve", "--api-key", "secret"], ["serve", "--api-key", "***"]),
        (["serve", "--api-key=secret", "x"], ["serve", "--api-key=***", "x"]),
        (["serve", "--api-key=two\nlines"], ["serve", "--api-key=***"]),
        (["--api-key", "secret", "--api-key", "other"], ["--api-key", "***", "--api-key", "***"]),
        (["serve", "--api-key-file", "keys"], ["serve", "--api-key-file", "keys"]),
        (["serve", "--api-key"], ["serve", "--api-key"]),
    ],
)
def test_a_command_line_is_shown_without_its_keys(words: list[str], shown: list[str]) -> None:
    assert without_keys(words) == shown


def test_the_title_of_a_command_does_not_hold_its_key() -> None:
    """As another user sees it, who may read the command line of every process."""
    program = (
        "from thespis.frontends.cli import main as m; m._hide_keys(); "
        "print(open('/proc/self/cmdline').read(), flush=True)"
    )
    words = [
        sys.executable,
        "-P",
        "-c",
        program,
        "serve",
        "--api-key",
        "se5ame",
        "--api-key=se5ame",
        "--port",
        "0",
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    assert "se5ame" not in said
    assert "--api-key ***" in said


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o777])
def test_a_key_file_that_everybody_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Who writes it lets himself in."""
    file = tmp_path / "keys"
    file.write_text("sesame\n")
    file.chmod(mode)
    with pytest.raises(EngineError, match="may be written by everybody on this machine: chmod 600"):
        with_keys(ServerConfig(api_key_file=str(file)))


def test_a_key_file_that_everybody_may_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text("sesame\n")
    file.chmod(0o600)
    assert with_keys(ServerConfig(api_key_file=str(file))).api_key == ("sesame",)
    assert caplog.text == ""
    file.chmod(0o644)
    assert with_keys(ServerConfig(api_key_file=str(file))).api_key == ("sesame",)
    assert "may be read by everybody" in caplog.text
    assert "sesame" not in caplog.text
