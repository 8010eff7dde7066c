"""Decode rows read in place: equal to attention over everything in float64, whatever the shape, and
alone as in company."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.gpu_runtime.attention import tried
from thespis.gpu_runtime.attention.in_place import InPlace
from thespis.gpu_runtime.attention.seen import PIECE, InPlaceRows
from thespis.gpu_runtime.attention.tried import native_kernels_are_right, usable_native_kernels
from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.memory.kv_pool import PADDING, KvPool
from thespis.gpu_runtime.native.build import best_level, library_path
from thespis.gpu_runtime.native.library import Kernels
from thespis.protocol.facts import KvGroup, KvTable

from ...helpers.kernels import asks_the_compiler, kernels, needs_kernels

pytestmark = [needs_kernels, asks_the_compiler]
CPU = torch.device("cpu")


def _world(
    lengths: list[int],
    heads: tuple[int, int],
    width: int,
    size: int,
    window: int | None,
    dtype: torch.dtype,
    seed: int,
) -> tuple[KvPool, np.ndarray[Any, Any], torch.Tensor]:
    """A pool in which everything that nobody may read is NaN, tables, and queries."""
    torch.manual_seed(seed)
    dice = np.random.default_rng(seed)
    kv_heads, per = heads[1], -(-max(lengths) // size)
    group = KvGroup(layers=(0,), kv_heads=kv_heads, key_dim=width, value_dim=width, window=window)
    pool = KvPool([KvTable(window, (group,))], [1 + len(lengths) * per], size, dtype, CPU)
    pool.blocks[0].fill_(torch.nan)
    free = iter(dice.permutation(np.arange(1, 1 + len(lengths) * per)))
    tables = np.full((len(lengths), per), PADDING, dtype=np.int32)
    for row, length in enumerate(lengths):
        first = 0 if window is None else max(0, length - window)
        held = slice(first // size, -(-length // size))
        tables[row, held] = [next(free) for _ in range(held.stop - held.start)]
        pool.slots[0][_slots(tables[row], size, first, length)] = torch.randn(
            length - first, 2, kv_heads, width
        ).to(dtype)
    return pool, tables, torch.randn(len(lengths), heads[0] * kv_heads, width).to(dtype)


def _attended(native: InPlace, query: torch.Tensor, rows: InPlaceRows, how: How) -> torch.Tensor:
    found = torch.empty(len(query), query.shape[1] * query.shape[2], dtype=query.dtype)
    native.rows(0, query, rows, how, found)
    return found


def _slots(table: Any, size: int, first: int, length: int) -> torch.Tensor:
    at = np.arange(first, length)
    return torch.from_numpy(table[at // size].astype(np.int64) * size + at % size)


def _expected(pool: KvPool, table: Any, query: torch.Tensor, length: int, how: How) -> torch.Tensor:
    """float64 of one row."""
    first = 0 if how.window is None else max(0, length - how.window)
    slots = _slots(table, pool.block_size, first, length)
    kv = pool.slots[0][slots].double()
    groups = query.shape[0] // kv.shape[2]
    keys, values = (kv[:, each].repeat_interleave(groups, 1) for each in (0, 1))
    scores = torch.einsum("hd,phd->hp", query.double(), keys) * how.scale
    if how.softcap is not None:
        scores = torch.tanh(scores / how.softcap) * how.softcap
    if how.sinks is not None:
        scores = torch.cat((scores, how.sinks.double()[:, None]), 1)
    weights = scores.softmax(-1)[:, : len(slots)]
    return torch.einsum("hp,phd->hd", weights, values).reshape(-1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 600), min_size=1, max_size=5),
    st.sampled_from([(1, 1), (2, 2), (7, 2), (8, 1), (9, 1), (20, 1), (3, 3)]),
    st.sampled_from([16, 32, 48, 64, 80, 128, 256]),
    st.sampled_from([1, 3, 16, 24, 32]),
    st.none() | st.integers(1, 400),
    st.none() | st.sampled_from([5.0, 50.0]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(0, 1 << 20),
)
def test_rows_are_those_of_float64(
    lengths: list[int],
    heads: tuple[int, int],
    width: int,
    size: int,
    window: int | None,
    softcap: float | None,
    has_sinks: bool,
    half: bool,
    wide: bool,
    threads: int,
    seed: int,
) -> None:
    dtype = torch.bfloat16 if half else torch.float32
    pool, tables, query = _world(lengths, heads, width, size, window, dtype, seed)
    how = How(width**-0.5, window, softcap, torch.randn(query.shape[1]) if has_sinks else None)
    native = InPlace(kernels(wide), pool)
    assert native.covers(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = _attended(native, query, InPlaceRows(tables, np.array(lengths), window), how)
        aside = (
            query.transpose(0, 1).contiguous().transpose(0, 1)
        )  # as transformers' modules hand them over
        assert torch.equal(
            _attended(native, aside, InPlaceRows(tables, np.array(lengths), window), how), found
        )
    finally:
        torch.set_num_threads(before)
    rtol, atol = (8e-3, 2e-2) if half else (1e-5, 1e-5)
    for row, length in enumerate(lengths):
        wanted = _expected(pool, tables[row], query[row], length, how)
        torch.testing.assert_close(found[row].double(), wanted, rtol=rtol, atol=atol)
        alone = _attended(
            native,
            query[row : row + 1],
            InPlaceRows(tables[row : row + 1], np.array([length]), window),
            how,
        )
        assert torch.equal(alone[0], found[row]), "it depends on the rows beside it"


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so_in_its_own_row(bad: float) -> None:
    pool, tables, query = _world([40, PIECE + 3], (2, 2), 32, 16, None, torch.float32, 1)
    query[0, 1, 5] = bad
    found = _attended(
        InPlace(kernels(), pool),
        query,
        InPlaceRows(tables, np.array([40, PIECE + 3]), None),
        How(0.2),
    )
    assert not found[0].isfinite().all()
    assert found[1].isfinite().all()


def test_scores_that_rise_and_fall_far_stay_exact() -> None:
    pool, tables, query = _world([700], (4, 1), 64, 16, None, torch.float32, 2)
    pool.slots[0][1:, 0] *= torch.linspace(0.1, 60, len(pool.slots[0]) - 1)[:, None, None]
    how = How(0.125)
    found = _attended(
        InPlace(kernels(), pool), query, InPlaceRows(tables, np.array([700]), None), how
    )
    torch.testing.assert_close(
        found[0].double(), _expected(pool, tables[0], query[0], 700, how), rtol=1e-4, atol=1e-4
    )


def test_widths_that_do_not_fill_vectors_are_not_covered() -> None:
    group = KvGroup(layers=(0,), kv_heads=1, key_dim=24, value_dim=24)
    for dtype, covered in ((torch.float32, False), (torch.float16, False)):
        pool = KvPool([KvTable(None, (group,))], [2], 16, dtype, CPU)
        assert InPlace(kernels(), pool).covers(0) is covered


def test_threads_are_those_of_torch() -> None:
    kernels()
    with open("/proc/self/maps") as maps:
        assert len({line.split()[-1] for line in maps if "libgomp" in line}) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wide", [False, True])
def test_kernels_are_tried_before_they_are_used(dtype: torch.dtype, wide: bool) -> None:
    assert native_kernels_are_right(kernels(wide), dtype)


@pytest.mark.parametrize("kernel", ["attend", "attend_chunks"])
def test_kernels_that_give_other_numbers_are_left_out(
    kernel: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a compiler is at fault, or a body for a processor that nobody had."""
    wrong = Kernels(str(library_path(best_level())))
    monkeypatch.setattr(wrong, kernel, lambda call: None)
    monkeypatch.setattr(tried, "load_kernels", lambda: wrong)
    assert usable_native_kernels(torch.float32) is None
    assert caplog.messages == [
        "torch's own operations are used in place of native kernels: here these give other numbers"
    ]
    assert usable_native_kernels(torch.float16) is wrong, "which are not asked for anything then"
