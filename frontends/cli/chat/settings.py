"""What `/set` may set: readers of their values, and what of them goes into a request. Pure."""

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..printing import well_formed

Value = float | int | str | bool | list[str]
MOST_STOPS = 4
"""As OpenAI's API has it."""


class Setting(NamedTuple):
    read: Callable[[str], Value]
    """Raises ValueError."""
    may: str
    """What it may be, for people."""
    asked: bool = True
    """A field of the request; the others are the chat's own."""
    sent: Callable[[Any], dict[str, Any]] | None = None
    """Of a value the fields that ask for it, where they are not called as it is."""


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError
        return value

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return read


def _switch(text: str) -> bool:
    return {"": True, "on": True, "off": False, "true": True, "false": False}[text.lower()]


def _text(text: str) -> str:
    if not text:
        raise ValueError
    return well_formed(text)


def _form(text: str) -> str:
    if text.lower() != "json":
        raise ValueError
    return "json"


_NUMBER = 1 << 31
_FORMATS: dict[str, dict[str, Any]] = {"json": {"response_format": {"type": "json_object"}}}
SETTINGS: dict[str, Setting] = {
    "temperature": Setting(_number(0, 2), "0 to 2; 0: always the most likely token"),
    "top_p": Setting(_number(0, 1), "0 to 1"),
    "top_k": Setting(_whole(0, _NUMBER), "a whole number from 0; 0: all"),
    "min_p": Setting(_number(0, 1), "0 to 1"),
    "max_tokens": Setting(_whole(1, _NUMBER), "a whole number from 1: tokens of one answer"),
    "seed": Setting(_whole(0, (1 << 63) - 1), "a whole number from 0"),
    "presence_penalty": Setting(_number(-2, 2), "-2 to 2"),
    "frequency_penalty": Setting(_number(-2, 2), "-2 to 2"),
    "repetition_penalty": Setting(_number(0.01, 100), "above 0; 1: none"),
    "stop": Setting(_text, f"a text that ends answers; each /set adds one, up to {MOST_STOPS}"),
    "format": Setting(
        _form, "json: an answer is one JSON object", sent=lambda form: _FORMATS[form]
    ),
    "think": Setting(
        _switch,
        "on or off, where the model's template has a switch for it",
        sent=lambda on: {"chat_template_kwargs": {"enable_thinking": on}},
    ),
    "system": Setting(_text, 'a text; of several lines between """', asked=False),
    "verbose": Setting(_switch, "on or off: what each answer took", asked=False),
}
_UNSET = ("none", "default")
_ALIASES = {
    "quiet": ("verbose", "off"),
    "nothink": ("think", "off"),
    "noformat": ("format", "none"),
}
"""Ollama's."""
_SWITCHES = ("verbose", "think")
"""Named alone they are on."""


class SettingError(ValueError):
    """Its text is for the person at the terminal."""


class Settings:
    """What has been set; all else is the server's default."""

    def __init__(self, **values: Value | None) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}

    @property
    def system(self) -> str | None:
        return None if (text := self._values.get("system")) is None else str(text)

    @property
    def verbose(self) -> bool:
        return bool(self._values.get("verbose"))

    def values(self) -> dict[str, Value]:
        return dict(self._values)

    def fields(self) -> dict[str, Any]:
        """Those of a request."""
        found: dict[str, Any] = {}
        for name, value in self._values.items():
            if SETTINGS[name].asked:
                sent = SETTINGS[name].sent
                found |= {name: value} if sent is None else sent(value)
        return found

    def set(self, words: str) -> str:
        """`NAME VALUE`, as after /set; what is to be said. Raises SettingError."""
        name, value = _split(words)
        if name == "parameter":  # Ollama's
            name, value = _split(value)
        name, value = _ALIASES.get(name, (name, value))
        if not name:
            return self.table()
        known = SETTINGS.get(name)
        if known is None:
            raise SettingError(_unknown(name))
        if value.lower() in _UNSET:
            self._values.pop(name, None)
            return f"{name} is the server's default" if known.asked else f"{name} is not set"
        if not value and name not in _SWITCHES:
            return self._line(name)
        self._put(name, known, value)
        return f"{name} is {_shown(self._values[name])}"

    def _put(self, name: str, known: Setting, value: str) -> None:
        try:
            read = known.read(value)
        except (ValueError, KeyError):
            raise SettingError(f"{name} may be {known.may}") from None
        if name == "stop":
            now = self._values.get("stop")
            stops = [*(now if isinstance(now, list) else []), str(read)]
            if len(stops) > MOST_STOPS:
                raise SettingError(f"there are {MOST_STOPS} already; /set stop none forgets them")
            read = stops
        self._values[name] = read

    def table(self) -> str:
        """Every setting, its value, and what it may be."""
        return "\n".join(
            [
                "/set NAME VALUE; the value `none` takes the server's default",
                *map(self._line, SETTINGS),
            ]
        )

    def _line(self, name: str) -> str:
        return f"  {name:19}{_shown(self._values.get(name)):12} {SETTINGS[name].may}"


def settings_of(found: Mapping[str, Any]) -> Settings:
    """Of a saved conversation: each value is read as if it had been typed. Raises SettingError."""
    settings = Settings()
    for name, value in found.items():
        for one in value if isinstance(value, list) else [value]:
            known = SETTINGS.get(name)
            if known is None:
                raise SettingError(_unknown(name))
            if not isinstance(one, str | int | float):
                raise SettingError(f"{name} may be {known.may}")
            settings._put(name, known, str(one))
    return settings


def _split(words: str) -> tuple[str, str]:
    name, *value = words.strip().split(None, 1)[:2] or [""]
    return name.lower().replace("-", "_"), value[0].strip() if value else ""


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, SETTINGS, n=1)
    meant = f"; did you mean {near[0]}?" if near else ";"
    return f"there is no setting {name!r}{meant} /set lists them"


def _shown(value: Value | None) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "on" if value else "off"
        case list():
            return ", ".join(map(repr, value))
        case str():
            return value if len(value) <= 40 and "\n" not in value else repr(value[:40]) + " ..."
    return f"{value:g}" if isinstance(value, float) else str(value)
