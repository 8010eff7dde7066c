"""Triton's kernels: equal to attention over everything in float64, whatever the shape, and alone as
in company."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.gpu_runtime.attention.tried_on_device import triton_kernels_are_right
from thespis.gpu_runtime.triton.configurations import PIECE
from thespis.protocol.facts import SpanWindows

from .loaded import ALL, PLACE, kernels
from .worlds import World

pytestmark = pytest.mark.timeout(180)
CLOSE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
"""Half precision rounds weights and results; the interpreter cuts them off."""
ROWS = [(PIECE + 90, 1), (70, 1), (16, 1), (15, 1), (0, 1)]
CHUNKS = [(40, 33), (0, 21), (200, 2)]


def check(world: World, close: float | None = None) -> None:
    found = world.run(kernels(), PLACE)
    torch.testing.assert_close(
        found.double(), world.expected(), rtol=0, atol=close or CLOSE[world.dtype]
    )


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize(
    "world",
    [
        World(ROWS + CHUNKS),
        World([(3 * PIECE, 1), (3 * PIECE - 1, 1), (PIECE - 1, 1), (5, 1), (77, 30)], (28, 4), 128),
        World(ROWS + CHUNKS, (8, 4), 80, window=33, softcap=30.0),
        World(
            [(1100, 1), *ROWS, (600, 40), (0, 70)], (4, 4), 32, window=PIECE + 20, has_sinks=True
        ),
        World([(90, 1), (60, 9)], (16, 1), 256, softcap=50.0, has_sinks=True),
        World([(50, 1), (3, 20)], (71, 1), 64, size=24),
        World([(50, 1), (3, 5)], (8, 1), 512),
        World([(50, 1), (3, 20)], (3, 3), 24, size=1),
        World([(50, 1), (3, 20)], (2, 1), 8),
    ],
    ids=lambda world: f"{world.heads[0]}/{world.heads[1]}x{world.width}",
)
def test_a_step_is_that_of_float64(world: World, dtype: torch.dtype) -> None:
    check(replace(world, dtype=dtype))


@pytest.mark.parametrize("span_windows", ["behind", "both", "none"])
@pytest.mark.parametrize("window", [None, 9, 40])
def test_spans_are_seen_both_ways(span_windows: SpanWindows, window: int | None) -> None:
    text, item, other = [-1] * 5, [0] * 30, [1] * 20
    spans = [
        -1,
        *text,
        *item,
        *text,
        *other,
        *[-1] * 8,
        *text,
        *item,
        *text,
        *item,
    ]  # one chunk of two items, one of text alone,
    works = [(300, 1), (20, 60), (64, 8), (0, 70)]  # and one whose items see each other
    check(
        World(
            works,
            (4, 2),
            32,
            dtype=ALL[-1],
            window=window,
            spans=tuple(spans),
            span_windows=span_windows,
        )
    )


def test_a_text_without_direction() -> None:
    for window in (None, 12):
        check(
            World(
                [(0, 90)],
                (2, 1),
                32,
                dtype=ALL[-1],
                window=window,
                spans=(0,) * 90,
                span_windows="both",
            )
        )


def test_a_work_is_alone_as_in_company() -> None:
    """Not nearly: cuts and merges are its own."""
    world = World([*ROWS[:2], *CHUNKS], (14, 2), 64, dtype=ALL[0], has_sinks=True)
    found = world.run(kernels(), PLACE)
    first = 0
    for number, (_, count) in enumerate(world.works):
        alone = world.alone(number).run(kernels(), PLACE)
        assert torch.equal(alone, found[first : first + count])
        first += count


def test_scores_that_rise_and_fall_far_stay_exact() -> None:
    world = World([(700, 1), (100, 40)], (4, 1), 64, dtype=ALL[-1])
    for context in world.contexts:
        context[:, 0] *= torch.linspace(0.1, 60, len(context))[:, None, None].to(context.dtype)
    world.qkv[:, 4] = torch.cat(
        [
            context[start:, 0, 0]
            for (start, _), context in zip(world.works, world.contexts, strict=True)
        ]
    )
    check(world, 1e-4 if world.dtype == torch.float32 else None)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(0, 600), max_size=3),
    st.lists(st.tuples(st.integers(0, 200), st.integers(2, 60)), max_size=2),
    st.sampled_from([(1, 1), (6, 2), (5, 1), (20, 2)]),
    st.sampled_from([8, 48, 64, 112]),
    st.sampled_from([4, 16, 17]),
    st.none() | st.integers(1, 300),
    st.booleans(),
    st.integers(0, 1 << 20),
)
def test_whatever_the_shape(
    rows: list[int], chunks: list[tuple[int, int]], heads: tuple[int, int], width: int, size: int,
    window: int | None,
    has_sinks: bool, seed: int,
) -> None:  # fmt: skip
    works = [*((start, 1) for start in sorted(rows, reverse=True)), *chunks] or [(0, 1)]
    check(World(works, heads, width, size, ALL[-1], window, has_sinks=has_sinks, seed=seed))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_the_trial_at_a_start_passes(dtype: torch.dtype) -> None:
    assert triton_kernels_are_right(kernels(), dtype, PLACE)
