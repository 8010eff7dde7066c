"""Guesses of what a sequence will say next: what it has said, or was asked, after the same words.
Pure.

Token ids are compared as the characters of a string, which has a fast search.
"""

from ...protocol.config.speculation import Speculation
from .sequence import Sequence


def propose(said: str, count: int, longest: int, shortest: int) -> str:
    """At most `count` characters that followed the last ones of `said` where these stood before:
    the last place where as many follow, else the first. The `longest` end that stood before counts;
    "": none of at least `shortest` did."""
    found = 0
    for length in range(shortest, min(longest, len(said) - 1) + 1):
        if said.find(said[-length:], 0, len(said) - 1) < 0:
            break  # no longer end stood before either
        found = length
    if not found:
        return ""
    end = said[-found:]
    at = said.rfind(end, 0, max(0, len(said) - count))
    if at < 0:
        at = said.find(end)
    return said[at + found : at + found + count]


class Lookup:
    """What is found is kept until the sequence has said more: a plan asks twice."""

    def __init__(self, speculation: Speculation | None) -> None:
        self._how = speculation
        self.is_on = speculation is not None

    def guess(self, seq: Sequence, most: int) -> tuple[int, ...]:
        """What may follow the tokens that are known of `seq`."""
        how = self._how
        if how is None or most < 1:
            return ()
        if len(seq.said) < seq.known or not seq.said:
            seq.said = _said(seq)
            seq.guessed = propose(
                seq.said, how.num_speculative_tokens, how.prompt_lookup_max, how.prompt_lookup_min
            )
        return tuple(map(ord, seq.guessed[:most]))


def _said(seq: Sequence) -> str:
    """Prompt and output."""
    said = seq.said or "".join(map(chr, seq.prompt))
    return said + "".join(map(chr, seq.output[len(said) - len(seq.prompt) :]))
