"""One sum of memory: nothing beyond it is taken, one sequence always fits, and windows are not what
runs out first."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.protocol.config.room import STATES, Room, Shape, bytes_for, context_in, divide_room
from thespis.protocol.facts import KvGroup, ModelFacts, RecurrentGroup

from .test_division import MODEL

FULL = KvGroup(layers=(5,), kv_heads=2, key_dim=16, value_dim=16)
WINDOW = KvGroup(layers=(0, 1, 2, 3, 4), kv_heads=2, key_dim=16, value_dim=16, window=512)
STATE = RecurrentGroup(layers=(6, 7), conv=(64, 4), state=(4, 16, 16))
SHAPE = Shape(block_size=16, context=8192, sequences=8, step=512)


def model(*groups: KvGroup, recurrent: tuple[RecurrentGroup, ...] = ()) -> ModelFacts:
    return msgspec.structs.replace(MODEL, kv_groups=groups, recurrent=recurrent)


MODELS = [
    model(FULL),
    model(FULL, WINDOW),
    model(WINDOW),
    model(FULL, recurrent=(STATE,)),
    model(recurrent=(STATE,)),
]


@given(
    st.sampled_from(MODELS),
    st.integers(1, 300),
    st.sampled_from([1, 16, 60]),
    st.integers(1, 20_000),
    st.integers(1, 70),
    st.integers(1, 2048),
)
def test_the_sum_holds(
    facts: ModelFacts, times: int, size: int, context: int, sequences: int, step: int
) -> None:
    shape = Shape(size, context, sequences, step)
    one = bytes_for(facts, 2, shape)
    nbytes = one * times // 40
    room = divide_room(nbytes, facts, 2, shape)
    whole = -(-context // size)
    if nbytes >= one:
        assert room.nbytes(facts, 2, size) <= nbytes
        for table, blocks in zip(facts.tables, room.blocks, strict=True):
            least = (
                whole
                if table.window is None
                else min(whole, -(-(table.window - 1 + step) // size) + 1)
            )
            assert blocks > least, "one sequence of the whole context fits"
        assert room.states >= (1 + STATES if facts.recurrent else 0)
    assert context_in(one, facts, 2, shape) == context


def test_windows_and_states_are_there_for_all_who_may_run() -> None:
    """Many short sequences are bounded by what grows, not by the windows and states, which half of
    the memory holds."""
    facts = model(FULL, WINDOW, recurrent=(STATE,))
    room = divide_room(bytes_for(facts, 2, SHAPE, 8) * 4 // 5, facts, 2, SHAPE)
    full, window = (blocks - 1 for blocks in room.blocks)
    assert window >= 8 * 512 // 16
    assert 8192 // 16 <= full < 8 * 8192 // 16
    assert room.states == 8 * STATES + 1


def test_a_context_that_does_not_fit_leaves_room_for_those_who_may_run() -> None:
    facts = model(FULL, recurrent=(STATE,))
    room = divide_room(bytes_for(facts, 2, SHAPE) // 2, facts, 2, SHAPE)
    assert room.states == 8 * STATES + 1


def test_a_window_takes_no_more_than_all_who_run_can_hold() -> None:
    room = divide_room(1 << 40, model(FULL, WINDOW), 2, SHAPE)
    assert room.blocks[1] - 1 == 8 * (512 // 16 + 2) + 2 * 512 // 16


@pytest.mark.parametrize("room", [Room((5,)), Room((5, 7), 3), Room((), 4)])
def test_a_runner_reports_it(room: Room) -> None:
    assert Room.from_notes(room.as_notes()) == room
