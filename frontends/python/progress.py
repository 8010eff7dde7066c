"""The progress bar of a batch."""

import time
from typing import Self

from ..start_bar import watched

FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
"""Without tqdm's own rate, which may be seconds per request; the postfix has both rates."""


class ProgressBar:
    """Counts answers, and shows how many requests and tokens come per second, where somebody
    watches: a log would have a line of it for every answer."""

    def __init__(self, total: int | None, shown: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            desc="Requests",
            disable=not (shown and watched()),
            dynamic_ncols=True,
            bar_format=FORMAT,
        )
        self._tokens = 0
        self._started = time.monotonic()

    def add(self, tokens: int, answers: int = 1) -> None:
        """Answers, and the tokens in them."""
        bar = self._bar
        self._tokens += tokens
        bar.update(answers)
        seconds = max(time.monotonic() - self._started, 1e-9)
        rates = f"{bar.n / seconds:.2f} requests/s, {self._tokens / seconds:.0f} tokens/s"
        bar.set_postfix_str(rates, refresh=bar.n == bar.total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
