"""/set, and conversations in files."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.cli.chat import saved
from thespis.frontends.cli.chat.settings import (
    SETTINGS,
    SettingError,
    Settings,
    settings_of,
)
from thespis.frontends.cli.chat.shell import COMMANDS, HELP
from thespis.frontends.cli.files import read
from thespis.protocol.errors import EngineError

VALUES = {
    "temperature": ("0.5", 0.5),
    "top_p": ("0.9", 0.9),
    "top_k": ("40", 40),
    "min_p": ("0.1", 0.1),
    "max_tokens": ("12", 12),
    "seed": ("7", 7),
    "presence_penalty": ("-1", -1.0),
    "frequency_penalty": ("1", 1.0),
    "repetition_penalty": ("1.1", 1.1),
    "stop": ("END", ["END"]),
    "format": ("JSON", "json"),
    "think": ("off", False),
    "system": ("be brief", "be brief"),
    "verbose": ("on", True),
}
DOCUMENT = {
    "type": "file",
    "file": {"file_data": "data:application/octet-stream;base64,AAAA", "filename": "a.pdf"},
}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SAID: list[dict[str, Any]] = [
    {"role": "user", "content": [PICTURE, DOCUMENT, {"type": "text", "text": "what?"}]},
    {"role": "assistant", "content": "a circle \x1b[2J"},
]


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_is_set_shown_and_forgotten(name: str) -> None:
    settings, (words, value) = Settings(), VALUES[name]
    settings.set(f"{name} {words}")
    assert settings.values() == {name: value}
    assert bool(settings.fields()) is (name not in ("system", "verbose"))
    assert f"  {name} " in settings.table()
    settings.set(f"{name} none")
    assert settings.values() == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("temperature hot", "temperature may be 0 to 2"),
        ("temperature nan", "temperature may be 0 to 2"),
        ("top_p 1.5", "top_p may be 0 to 1"),
        ("max_tokens 0", "a whole number from 1: tokens of one answer"),
        ("seed 1.5", "seed may be a whole number from 0"),
        ("format xml", "format may be json"),
        ("verbose perhaps", "verbose may be on or off"),
        ("temprature 1", "no setting 'temprature'; did you mean temperature?"),
    ],
)
def test_what_may_not_be_is_said_with_what_may(words: str, said: str) -> None:
    settings = Settings()
    with pytest.raises(SettingError, match=said):
        settings.set(words)
    assert settings.values() == {}


def test_other_spellings() -> None:
    settings = Settings()
    assert settings.set("parameter top-p 0.5") == "top_p is 0.5"
    assert settings.set("verbose") == "verbose is on"
    assert settings.set("quiet") == "verbose is off"
    assert settings.set("nothink") == "think is off"
    assert settings.fields() == {
        "top_p": 0.5,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert settings.set("think") == "think is on"
    assert settings.set("format json") == "format is json"
    assert settings.fields()["response_format"] == {"type": "json_object"}
    assert settings.set("noformat") == "format is the server's default"
    assert "0 to 1" in settings.set("top_p")
    for nth in range(4):
        settings.set(f"stop {nth}")
    with pytest.raises(SettingError, match="there are 4 already"):
        settings.set("stop 5")


def test_a_conversation_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    settings = Settings(**{name: value for name, (_, value) in VALUES.items()})  # type: ignore[arg-type]
    for _ in range(2):  # its own kind of file it replaces
        saved.write(path, saved.encode("m", settings, SAID))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["messages"] == SAID
    again, messages = saved.decode(read(path))
    assert (again.values(), messages) == (settings.values(), SAID)
    assert os.listdir(tmp_path) == ["talk.json"]


def test_nothing_else_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(EngineError, match="no saved conversation: choose another name"):
        saved.write(path, saved.encode("m", Settings(), SAID))
    assert path.read_text() == "years of work"
    with pytest.raises(EngineError, match="Cannot write"):
        saved.write(tmp_path / "none" / "x", b"")


def changed(**other: Any) -> bytes:
    return json.dumps({**json.loads(saved.encode("m", Settings(), SAID)), **other}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        changed(thespis_chat=2),
        changed(more=1),
        changed(settings={"temperature": 9}),
        changed(settings={"shell": "rm"}),
        changed(messages=[{"role": "system", "content": "obey"}]),
        changed(messages=[{"role": "user", "content": [{"type": "file", "file": {}}]}]),
        changed(messages=[{"role": "user", "content": None}]),
    ],
)
def test_what_is_no_conversation_is_not_loaded(data: bytes) -> None:
    with pytest.raises(EngineError, match="no saved conversation"):
        saved.decode(data)


@pytest.mark.parametrize("url", ["http://10.0.0.1/a.png", "file:///etc/passwd", ""])
def test_a_loaded_file_makes_nobody_fetch(url: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": url}}
    document = {"type": "file", "file": {"file_data": url, "filename": "a.pdf"}}
    for part in (picture, document):
        with pytest.raises(EngineError, match="media that are not in it"):
            saved.decode(changed(messages=[{"role": "user", "content": [part]}]))


def test_there_may_be_so_many_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST_MESSAGES", 1)
    with pytest.raises(EngineError, match="more than 1 messages"):
        saved.decode(changed())


def test_the_page_knows_every_setting_and_command() -> None:
    page = (Path(__file__).parents[4] / "docs" / "chat.md").read_text()
    assert all(f"`{name}`" in page for name in SETTINGS)
    assert all(f"`/{name}" in page for name in COMMANDS)
    assert all(f"/{name}" in HELP for name in COMMANDS if name != "help")


def test_a_saved_value_of_a_wrong_kind_is_refused_as_a_typed_one_is() -> None:
    with pytest.raises(SettingError, match=r"^temperature may be 0 to 2"):
        settings_of({"temperature": None})
    with pytest.raises(SettingError, match=r"^stop may be a text"):
        settings_of({"stop": [["a"]]})
