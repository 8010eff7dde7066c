"""One sum of memory: how many blocks every table of the KV cache has, and how many slots for
recurrent states."""

from bisect import bisect_right

import msgspec

from ..facts import ModelFacts

STATES = 2
"""Slots for states per sequence that may run: its own, and one for the state at a beginning that
others may share."""


class Room(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the GPU runner keeps, in pieces that the scheduler hands out. The first of each kind is
    never handed out."""

    blocks: tuple[int, ...]
    """By table of the model."""
    states: int = 0
    """Slots; 0: the model has no recurrent layers."""

    def nbytes(self, model: ModelFacts, itemsize: int, block_size: int) -> int:
        sizes = _block_sizes(model, itemsize, block_size)
        return sum(map(int.__mul__, self.blocks, sizes)) + self.states * model.state_bytes(itemsize)

    def as_notes(self) -> dict[str, int]:
        """As the runner reports it when it is ready."""
        blocks = {f"blocks {table}": blocks for table, blocks in enumerate(self.blocks)}
        return {"states": self.states, **blocks}

    @classmethod
    def from_notes(cls, notes: dict[str, int]) -> "Room":
        blocks = tuple(notes[f"blocks {table}"] for table in range(len(notes) - 1))
        return cls(blocks, notes["states"])


class Shape(msgspec.Struct, frozen=True):
    """What room is divided for."""

    block_size: int
    """Tokens."""
    context: int
    """Tokens of the longest sequence."""
    sequences: int
    """That may run at once."""
    step: int
    """Tokens computed in one step."""


def divide_room(nbytes: int, model: ModelFacts, itemsize: int, shape: Shape) -> Room:
    """As much room as `nbytes` hold.

    What a sequence holds however long it is (its windows, its states) is there for as many as may
    run, in at most half of the bytes and, if one fits at all, beside a sequence of the whole
    context; or for as many whole ones as fit, where that is more; at least for one. What grows with
    a sequence gets the rest, which may be none: the caller looks.
    """
    sizes = zip(model.tables, _block_sizes(model, itemsize, shape.block_size), strict=True)
    growing = sum(size for table, size in sizes if not table.window)

    def bytes_of(room: Room) -> int:
        return room.nbytes(model, itemsize, shape.block_size)

    def fits(sequences: int) -> bool:
        kept = bytes_of(_room(model, shape, sequences, 0))
        one = bytes_of(_room(model, shape, sequences, _blocks(shape.context, shape.block_size)))
        half = 2 * kept <= nbytes and (one <= nbytes or not holds_one)
        return half or bytes_for(model, itemsize, shape, sequences) <= nbytes

    holds_one = bytes_for(model, itemsize, shape) <= nbytes

    most = next((sequences for sequences in range(shape.sequences, 1, -1) if fits(sequences)), 1)
    left = nbytes - bytes_of(_room(model, shape, most, 0))
    return _room(model, shape, most, max(0, left // growing) if growing else 0)


def bytes_for(model: ModelFacts, itemsize: int, shape: Shape, sequences: int = 1) -> int:
    """What so many sequences of the whole context take."""
    whole = sequences * _blocks(shape.context, shape.block_size)
    return _room(model, shape, sequences, whole).nbytes(model, itemsize, shape.block_size)


def context_in(nbytes: int, model: ModelFacts, itemsize: int, shape: Shape) -> int:
    """Tokens of the longest sequence that so many bytes hold beside what is never handed out, in
    whole blocks; at most the shape's context."""
    spare = _room(model, shape, 0, 0).nbytes(model, itemsize, shape.block_size)

    def taken(blocks: int) -> int:
        longest = msgspec.structs.replace(shape, context=blocks * shape.block_size)
        return bytes_for(model, itemsize, longest) - spare

    most = bisect_right(range(1, _blocks(shape.context, shape.block_size) + 1), nbytes, key=taken)
    return min(shape.context, most * shape.block_size)


def _room(model: ModelFacts, shape: Shape, sequences: int, full: int) -> Room:
    """For so many sequences: `full` blocks for layers that see everything, and the windows and
    states of each."""
    blocks = tuple(
        1 + (full if table.window is None else _held(table.window, sequences, shape))
        for table in model.tables
    )
    return Room(blocks, STATES * sequences + 1 if model.recurrent else 0)


def _held(window: int, sequences: int, shape: Shape) -> int:
    """Blocks of a window's table that so many sequences hold: their windows, and what two steps in
    flight compute."""
    own = _blocks(window, shape.block_size) + 2
    whole = sequences * _blocks(shape.context, shape.block_size)
    return min(whole, sequences * own + 2 * _blocks(shape.step, shape.block_size))


def _block_sizes(model: ModelFacts, itemsize: int, block_size: int) -> list[int]:
    return [block_size * table.token_bytes(itemsize) for table in model.tables]


def _blocks(tokens: int, block_size: int) -> int:
    return -(-tokens // block_size)
