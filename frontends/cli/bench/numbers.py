"""Readers of the flags of `thespis bench`: what makes no sense is refused with the flag's name,
before anything is measured."""

import argparse
import secrets
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

LARGEST_SIDE = 8192
"""Pixels: of a picture of noise that is twice as wide, the base64 text is over a gigabyte."""
MOST = 1_000_000
_PLOTS = (".svg", ".png", ".pdf")


def number(least: int, most: int = MOST) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"expected a number from {least} to {most}, got {text!r}"
            )
        return value

    return read


def between(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = most + 1
        if not least <= value <= most:  # nan is not, either
            raise argparse.ArgumentTypeError(
                f"expected a number from {least:g} to {most:g}, got {text!r}"
            )
        return value

    return read


def numbers(text: str) -> list[int]:
    """`1,8,32`."""
    return [number(1)(word) for word in text.split(",")]


def some_seed() -> int:
    """Another one each time: a server that has seen the same prompts and pictures answers from its
    caches."""
    return secrets.randbelow(MOST)


def plot_file(text: str) -> str:
    if not text.endswith(_PLOTS):
        raise argparse.ArgumentTypeError(
            f"expected a file that ends in {', '.join(_PLOTS)}, got {text!r}"
        )
    if not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(Path(text).parent)!r}")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("it needs matplotlib: pip install 'thespis[plot]'")
    return text
