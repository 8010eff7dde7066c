"""The arithmetic of sampling, on rows of float32 logits [rows, vocab]. Pure functions; an excluded
token is -inf."""

import torch

CANDIDATES = 1024
"""Most likely tokens looked at first for top-k and top-p; more of the vocabulary is sorted only
where they do not suffice."""


def penalise(
    logits: torch.Tensor,
    seen: torch.Tensor,
    counts: torch.Tensor,
    repetition: torch.Tensor,
    frequency: torch.Tensor,
    presence: torch.Tensor,
) -> torch.Tensor:
    """`seen` bool [rows, vocab]: in prompt or output; `counts` [rows, vocab]: times in the output;
    penalties [rows, 1]."""
    weakened = torch.where(logits > 0, logits / repetition, logits * repetition)
    out = torch.where(seen & (repetition != 1.0), weakened, logits)
    return out - frequency * counts - presence * (counts > 0)


def apply_temperature(logits: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """Relative to each row's best token, so that a tiny temperature cannot overflow. `temperature`
    [rows, 1], above 0."""
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def apply_min_p(logits: torch.Tensor, min_p: torch.Tensor) -> torch.Tensor:
    """Exclude tokens less likely than `min_p` [rows, 1] times the likeliest."""
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + min_p.log(), -torch.inf)


def apply_top(logits: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Keep the `top_k` likeliest, then the fewest likeliest whose mass reaches `top_p`, both [rows,
    1]; vocab and 1.0 keep all.

    Ties with the last kept token are kept too, so that the result does not depend on the order of a
    sort.
    """
    vocab = logits.shape[-1]
    limited = torch.where(top_k < vocab, top_k, 0)
    width = min(vocab, max(CANDIDATES, int(limited.max())))
    threshold, short = _threshold(logits, top_k, top_p, width)
    while short and width < vocab:
        width = min(vocab, 8 * width)
        threshold, short = _threshold(logits, top_k, top_p, width)
    return logits.masked_fill(logits < threshold, -torch.inf)


def _threshold(
    logits: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, width: int
) -> tuple[torch.Tensor, bool]:
    """The smallest kept logit [rows, 1], looking at `width` tokens; True where a row would need
    more of them."""
    vocab = logits.shape[-1]
    best = logits.topk(width, dim=-1).values  # falling
    threshold = torch.full_like(top_p, -torch.inf)
    by_k = top_k < vocab
    kth = best.gather(-1, (top_k - 1).clamp(max=width - 1))
    threshold = torch.where(by_k, kth, threshold)
    kept = best.masked_fill(best < threshold, -torch.inf)
    total = torch.where(by_k, kept.logsumexp(-1, keepdim=True), logits.logsumexp(-1, keepdim=True))
    mass = (kept - total).exp()
    before = mass.cumsum(-1) - mass
    count = (before < top_p).sum(-1, keepdim=True).clamp(min=1)
    by_p = top_p < 1.0
    threshold = torch.where(by_p, torch.maximum(threshold, kept.gather(-1, count - 1)), threshold)
    return threshold, bool((by_p & ~by_k & (count == width)).any())


def pick(logits: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The token at which each row's cumulative probability passes `uniform` [rows] in [0, 1); int64
    [rows]."""
    cumulative = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    target = uniform[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, target, right=True)
    return found[:, 0].clamp(max=logits.shape[-1] - 1)
