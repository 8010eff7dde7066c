"""Tables, quantiles and plots of `thespis bench`."""

import builtins
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from thespis.frontends.cli.bench.report import Cell, cells_table, milliseconds, plot, quantile, show
from thespis.protocol.errors import EngineError

CELLS = [
    Cell("text, 1 stream", 1234.5, "tokens/s"),
    Cell("TTFT", 5.678, "ms"),
    Cell("ITL", 0.5, "ms"),
]


def test_columns_stand_below_each_other() -> None:
    lines = cells_table(CELLS).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["text,", "1", "stream", "1,234", "tokens/s"]


def test_quantiles_are_the_nearest_rank() -> None:
    assert (quantile([3.0, 1.0, 2.0], 0.5), quantile([3.0, 1.0, 2.0], 1.0), quantile([], 0.5)) == (
        2.0,
        3.0,
        0.0,
    )
    assert milliseconds([0.0123456], 0.5) == 12.346


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (0.01234, "0.0123"), (99.5, "99.5"), (1234.5, "1,234")]
)
def test_three_digits_that_count(value: float, shown: str) -> None:
    assert show(value) == shown


def test_a_plot_has_a_bar_for_every_figure_of_every_side(tmp_path: Path) -> None:
    plot(tmp_path / "figures.png", {"ours": CELLS, "theirs": CELLS})
    with Image.open(tmp_path / "figures.png") as drawn:
        colours = drawn.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    frequent = {colour for count, colour in colours if count > 500}
    assert len(frequent) >= 3  # the ground and one for each side


def test_a_plot_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be written"):
        plot(tmp_path / "no" / "folder.png", {"": CELLS})


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EngineError, match=r"pip install 'thespis\[plot\]'"):
        plot(tmp_path / "figures.png", {"": CELLS})
