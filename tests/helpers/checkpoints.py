"""Tiny random checkpoints for tests: made once a session, by the script that a person would use."""

from pathlib import Path
from typing import Literal

import pytest

from thespis.scripts.make_random_checkpoint import make_checkpoint

Family = Literal["qwen_omni", "qwen_vl", "llava"]
FAMILIES: tuple[Family, ...] = ("qwen_omni", "qwen_vl", "llava")

__all__ = ["FAMILIES", "Checkpoints", "Family", "make_checkpoint"]


class Checkpoints:
    """A folder per family, written when it is first asked for. In tests: the fixture
    `checkpoints`."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._made: dict[str, Path] = {}

    def __call__(self, family: Family) -> Path:
        if family not in self._made:
            self._made[family] = make_checkpoint(family, self._factory.mktemp(f"tiny-{family}"))
        return self._made[family]
