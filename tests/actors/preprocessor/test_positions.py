"""Positions of items alone compose to those of the whole prompt."""

import numpy as np
import pytest

from thespis.actors.preprocessor.positions import Block, compose
from thespis.protocol.edges.decode_worker_to_preprocessor import NOTHING, ORDINAL, RUN


def planes(*rows: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return np.array(rows, np.int32)


def composed(length: int, *blocks: Block) -> tuple[list[list[int]], int]:
    made, delta = compose(length, blocks)
    assert made is not None
    return np.frombuffer(made, "<i4").reshape(-1, length).tolist(), delta


def test_text_alone_needs_none() -> None:
    assert compose(5, ()) == (None, 0)


def test_text_goes_on_behind_an_item() -> None:
    block = Block(1, planes([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]), 2)
    made, delta = composed(7, block)
    assert made == [[0, 1, 1, 1, 1, 3, 4], [0, 1, 1, 2, 2, 3, 4], [0, 1, 2, 1, 2, 3, 4]]
    assert delta == -2


def test_items_side_by_side() -> None:
    made, delta = composed(4, Block(0, planes([0, 1]), 5), Block(2, planes([0, 0]), 1))
    assert made == [[0, 1, 5, 5]]
    assert delta == 2


def test_the_delta_continues_the_greatest_position_of_all() -> None:
    """Of a clip whose time runs far ahead, the text that follows may stand before its last
    frames."""
    made, delta = composed(4, Block(0, planes([0, 50]), 2))
    assert made == [[0, 50, 2, 3]]
    assert delta == 51 - 4


@pytest.mark.parametrize(("ordinal", "base"), [(0, 3), (2, 0)])
def test_some_positions_do_not_move_with_their_item(ordinal: int, base: int) -> None:
    anchors = np.array([[RUN, RUN], [NOTHING, RUN], [ORDINAL, RUN]], np.uint8)
    block = Block(base, planes([0, 1], [7, 1], [0, 1]), 2, anchors, ordinal)
    made, _ = composed(base + 2, block)
    assert [row[base:] for row in made] == [[base, base + 1], [7, base + 1], [ordinal, base + 1]]
