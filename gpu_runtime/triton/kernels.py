"""The kernels, in Triton's dialect of Python: attention over the blocks of a pool, as
`attention.py` launches them.

A pool is [blocks, block_size, 2 (key, value), kv_heads, width]. Sums are float32, scores are kept
to base 2. What a launch changes from step to step is not specialised on: nothing is compiled again
while answers are being made.

In Triton's interpreter (TRITON_INTERPRET=1 before this is imported) the same text runs on a CPU,
where bfloat16 must be widened before it is multiplied.
"""

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
LOG2E = tl.constexpr(1.4426950408889634)
TOGETHER = tl.constexpr(16)
"""Pieces of a context that are merged at once."""
BEHIND = tl.constexpr(1)
BOTH = tl.constexpr(2)
NEITHER = tl.constexpr(3)
"""What windows cut of spans whose tokens see each other both ways: what is behind a token, both
sides, nothing."""


def keep_in(folder: str) -> None:
    """Where Triton keeps what it has compiled."""
    triton.knobs.cache.dir = folder


@triton.jit
def _product(left, right):
    if INTERPRETED:
        return tl.dot(left.to(tl.float32), right.to(tl.float32))
    return tl.dot(left, right)


@triton.jit
def _add_tile(
    most, total, acc, query, pool, table, tokens, held, seen, scale, head, block_size,
    KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, WIDTH_P: tl.constexpr, CAP: tl.constexpr,
):  # fmt: skip
    """Let rows `query` [rows, width] see the positions `tokens` [tile] as `seen` [rows, tile] says;
    of those that are not `held` [tile] nothing is read. Returns what each row has seen up to now:
    its largest score, the sum of weights, and of weighted values."""
    columns = tl.arange(0, WIDTH_P)
    blocks = tl.load(table + tokens // block_size, mask=held, other=0).to(tl.int64)
    at = (blocks * block_size + tokens % block_size) * (2 * KV_HEADS * WIDTH) + head * WIDTH
    where = at[:, None] + columns[None, :]
    read = held[:, None] & (columns < WIDTH)[None, :]
    keys = tl.load(pool + where, mask=read, other=0.0)
    values = tl.load(pool + KV_HEADS * WIDTH + where, mask=read, other=0.0)
    scores = _product(query, tl.trans(keys)) * scale
    if CAP > 0:
        scores = CAP * (2.0 / (1.0 + tl.exp(scores * (-2.0 / CAP))) - 1.0)
    scores = tl.where(seen & held[None, :], scores * LOG2E, float("-inf"))
    now = tl.maximum(most, tl.max(scores, 1))
    base = tl.where(now == float("-inf"), 0.0, now)  # a row that has seen nothing yet
    weights = tl.exp2(scores - base[:, None])
    kept = tl.exp2(most - base)
    total = total * kept + tl.sum(weights, 1)
    if not INTERPRETED:
        weights = weights.to(values.dtype)
    return now, total, acc * kept[:, None] + _product(weights, values)


@triton.jit
def _begun(sinks, heads, live, ROWS: tl.constexpr, WIDTH_P: tl.constexpr, SINKS: tl.constexpr):
    """Rows that have seen nothing yet, or a sink: a score without a value. `heads` [ROWS], `live`
    bool [ROWS]."""
    acc = tl.zeros([ROWS, WIDTH_P], tl.float32)
    if SINKS:
        most = tl.load(sinks + heads, mask=live, other=float("-inf")) * LOG2E
        total = tl.where(live, 1.0, 0.0)
    else:
        most = tl.full([ROWS], float("-inf"), tl.float32)
        total = tl.zeros([ROWS], tl.float32)
    return most, total, acc


@triton.jit(
    do_not_specialize=["table_stride", "block_size"],
    do_not_specialize_on_alignment=["tables", "lengths", "parts", "tops"],
)
def decode_kernel(
    out, parts, tops, query, pool, tables, lengths, sinks, scale, query_stride, table_stride,
    block_size,
    GROUP: tl.constexpr, GROUP_P: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr,
    WIDTH_P: tl.constexpr,
    WINDOW: tl.constexpr, CAP: tl.constexpr, SINKS: tl.constexpr, PIECE: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """Rows of one token each. Grid: rows x kv_heads x pieces of the longest context.

    `query` [rows, heads, width] with `query_stride` from row to row; `tables` [rows, table_stride],
    `lengths` [rows] with the row's own token. Of a context that is one piece the answer goes into
    `out` [rows, heads * width]; of others, piece by piece, into `parts` [rows, pieces, heads,
    width] and `tops` [rows, pieces, heads].
    """
    row, head, part = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + row)
    low = 0
    if WINDOW > 0:
        low = tl.maximum(length - WINDOW, 0)
    number = low // PIECE + part
    if number * PIECE >= length:
        return
    begin = tl.maximum(number * PIECE, low // TILE * TILE)
    end = tl.minimum(number * PIECE + PIECE, length)
    group, columns = tl.arange(0, GROUP_P), tl.arange(0, WIDTH_P)
    heads, live = head * GROUP + group, group < GROUP
    at = heads[:, None] * WIDTH + columns[None, :]
    real = live[:, None] & (columns < WIDTH)[None, :]
    asked = tl.load(query + row * query_stride + at, mask=real, other=0.0)
    most, total, acc = _begun(sinks, heads, live & (part == 0), GROUP_P, WIDTH_P, SINKS)
    for start in range(begin, end, TILE):
        tokens = start + tl.arange(0, TILE)
        held = (tokens >= low) & (tokens < end)
        seen = tl.broadcast_to(held[None, :], (GROUP_P, TILE))
        most, total, acc = _add_tile(
            most, total, acc, asked, pool, tables + row * table_stride, tokens, held, seen, scale,
            head, block_size,
            KV_HEADS, WIDTH, WIDTH_P, CAP,
        )  # fmt: skip
    made = acc / total[:, None]
    if (length - 1) // PIECE == low // PIECE:
        tl.store(
            out + row * (KV_HEADS * GROUP * WIDTH) + at, made.to(out.dtype.element_ty), mask=real
        )
    else:
        piece = (row * tl.num_programs(2) + part) * (KV_HEADS * GROUP)
        tl.store(parts + piece * WIDTH + at, made, mask=real)
        tl.store(tops + piece + heads, most + tl.log2(total), mask=live)


@triton.jit(
    do_not_specialize=["pieces"], do_not_specialize_on_alignment=["lengths", "parts", "tops"]
)
def merge_kernel(
    out, parts, tops, lengths, pieces,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, WIDTH_P: tl.constexpr, WINDOW: tl.constexpr,
    PIECE: tl.constexpr,
):  # fmt: skip
    """What `decode_kernel` made of the pieces of each context, of which there are at most `pieces`.
    Grid: rows x heads."""
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    length = tl.load(lengths + row)
    low = 0
    if WINDOW > 0:
        low = tl.maximum(length - WINDOW, 0)
    own = (length - 1) // PIECE - low // PIECE + 1
    if own == 1:
        return
    columns = tl.arange(0, WIDTH_P)
    most, total = tl.full([], float("-inf"), tl.float32), tl.full([], 0.0, tl.float32)
    acc = tl.zeros([WIDTH_P], tl.float32)
    for first in range(0, own, TOGETHER):
        part = first + tl.arange(0, TOGETHER)
        at = (row * pieces + part) * HEADS + head
        top = tl.load(tops + at, mask=part < own, other=float("-inf"))
        read = (part < own)[:, None] & (columns < WIDTH)[None, :]
        made = tl.load(parts + at[:, None] * WIDTH + columns[None, :], mask=read, other=0.0)
        now = tl.maximum(most, tl.max(top, 0))
        weights = tl.exp2(top - now)
        kept = tl.exp2(most - now)
        acc = acc * kept + tl.sum(made * weights[:, None], 0)
        total = total * kept + tl.sum(weights, 0)
        most = now
    tl.store(
        out + (row * HEADS + head) * WIDTH + columns,
        (acc / total).to(out.dtype.element_ty),
        mask=columns < WIDTH,
    )


@triton.jit
def _in_one_span(own, other, ahead, WINDOW: tl.constexpr, SPANS: tl.constexpr):
    """bool [rows, tokens]: whether a key lies in the query's span, and within the window where that
    holds for spans, too."""
    same = (own[:, None] == other[None, :]) & (own >= 0)[:, None]
    if WINDOW > 0 and SPANS != NEITHER:
        same = same & (ahead > -WINDOW)
    if WINDOW > 0 and SPANS == BOTH:
        same = same & (ahead < WINDOW)
    return same


@triton.jit(
    do_not_specialize=["table_stride", "block_size"],
    do_not_specialize_on_alignment=["tables", "chunks", "spans"],
)
def prefill_kernel(
    out, query, pool, tables, chunks, spans, sinks, scale, query_stride, table_stride, block_size,
    GROUP: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, WIDTH_P: tl.constexpr,
    WINDOW: tl.constexpr, CAP: tl.constexpr, SINKS: tl.constexpr, SPANS: tl.constexpr,
    ROWS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Chunks of tokens whose keys lie in the pool. Grid: tiles of the longest x chunks x kv_heads.

    A tile is of ROWS // GROUP tokens and the heads of a group. `query` [tokens, heads, width] and
    `out` [tokens, heads * width] of the whole step; `tables` [chunks, table_stride]; `chunks`
    [chunks, 4]: its first token in the step, that token's position, how many there are, whether
    spans are among them; `spans` [tokens]: of each of the step's tokens its span, or -1.
    """
    tile, head = tl.program_id(0), tl.program_id(2)
    chunk = tl.program_id(1).to(tl.int64)
    first, start = tl.load(chunks + 4 * chunk).to(tl.int64), tl.load(chunks + 4 * chunk + 1)
    count = tl.load(chunks + 4 * chunk + 2)
    done = tile * (ROWS // GROUP)
    if done >= count:
        return
    end = tl.minimum(done + ROWS // GROUP, count)
    rows, columns = tl.arange(0, ROWS), tl.arange(0, WIDTH_P)
    own = done + rows // GROUP
    live = own < end
    heads, position = head * GROUP + rows % GROUP, start + own
    at = heads[:, None] * WIDTH + columns[None, :]
    real = live[:, None] & (columns < WIDTH)[None, :]
    asked = tl.load(query + (first + own)[:, None] * query_stride + at, mask=real, other=0.0)
    most, total, acc = _begun(sinks, heads, live, ROWS, WIDTH_P, SINKS)
    low, high = 0, start + end
    if WINDOW > 0:
        low = tl.maximum(start + done + 1 - WINDOW, 0)
    if SPANS > 0:
        span = tl.load(spans + first + own, mask=live, other=-1)
        if tl.load(chunks + 4 * chunk + 3) > 0:
            high = start + count
            if SPANS == NEITHER:
                low = tl.minimum(low, start)
    for begin in range(low // TILE * TILE, high, TILE):
        tokens = begin + tl.arange(0, TILE)
        held = (tokens >= low) & (tokens < high)
        ahead = tokens[None, :] - position[:, None]
        seen = ahead <= 0
        if WINDOW > 0:
            seen = seen & (ahead > -WINDOW)
        if SPANS > 0:
            inside = (tokens >= start) & (tokens < start + count)
            other = tl.load(spans + first + tokens - start, mask=inside, other=-1)
            seen = seen | _in_one_span(span, other, ahead, WINDOW, SPANS)
        most, total, acc = _add_tile(
            most, total, acc, asked, pool, tables + chunk * table_stride, tokens, held, seen, scale,
            head, block_size,
            KV_HEADS, WIDTH, WIDTH_P, CAP,
        )  # fmt: skip
    made = acc / tl.where(total > 0, total, 1.0)[:, None]
    tl.store(
        out + (first + own)[:, None] * (KV_HEADS * GROUP * WIDTH) + at,
        made.to(out.dtype.element_ty),
        mask=real,
    )
