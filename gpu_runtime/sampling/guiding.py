"""Structured output at the sampler: one matcher per guided sequence, fed with its tokens, asked
which may come next.

Nothing here is loaded before the first guided sequence comes. A guide has been built once by a
decode worker before it gets here, so that building it is known to be cheap; limits hold all the
same.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ...protocol.bounded import Bounded
from ...protocol.facts import ModelFacts
from ...protocol.grammars.grammar import GuideError, grammar_of
from ...protocol.requests.guide import Guide
from .unrunnable import Unrunnable
from .vocabulary import vocabulary_of

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

BUILT = 64
"""Guides that are kept built for the next sequence that has them."""


class Matcher:
    """Where one sequence stands in its guide."""

    def __init__(self, matcher: "LLMatcher", words: int, eos_token_ids: Sequence[int]) -> None:
        self._matcher = matcher
        self._words = words
        self._eos = tuple(eos_token_ids)
        self._over = False

    @property
    def ended(self) -> bool:
        """Nothing but an end token may follow."""
        return self._over or bool(self._matcher.is_stopped())

    def advance(self, token: int) -> None:
        """An end token is none of the grammar's; one that does not fit leaves no token to
        choose."""
        if token in self._eos and (self._over or self._matcher.is_accepting()):
            self._over = True
        else:
            self._matcher.consume_token(token)

    def allowed(self) -> NDArray[np.uint8]:
        """Bits [words * 4 bytes], the lowest first; all zero where the grammar has broken."""
        bits = np.zeros(4 * self._words, dtype=np.uint8)
        if not self._over and not self._matcher.is_error():
            self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.size)
        if self._matcher.is_error():
            bits[:] = 0
            return bits
        if self._over or self._matcher.is_stopped():
            bits[:] = 0
        if self._over or self._matcher.is_accepting():
            for token in self._eos:
                bits[token >> 3] |= 1 << (token & 7)
        return bits


class Guides:
    """One model's vocabulary in the grammar engine's form, and the guides built last."""

    def __init__(self, info: ModelFacts) -> None:
        self._info = info
        self._tokenizer: LLTokenizer | None = None
        self._built: Bounded[Guide, LLMatcher] = Bounded(BUILT)

    def start(self, guide: Guide, output: Sequence[int], eos_token_ids: Sequence[int]) -> Matcher:
        """A matcher that has taken in `output`. Raises Unrunnable where the guide cannot be
        built."""
        tokenizer = self._vocabulary()
        built = self._built.use(guide)
        if built is None:
            built = self._built[guide] = self._build(tokenizer, guide)
        words = -(-max((tokenizer.vocab_size, *(token + 1 for token in eos_token_ids))) // 32)
        matcher = Matcher(built.deep_copy(), words, eos_token_ids)
        for token in output:
            matcher.advance(token)
        return matcher

    def _build(self, tokenizer: "LLTokenizer", guide: Guide) -> "LLMatcher":
        from llguidance import LLMatcher

        try:
            matcher = LLMatcher(tokenizer, grammar_of(guide), log_level=0)
        except GuideError:
            raise Unrunnable("its grammar is not valid.") from None
        if matcher.is_error():
            raise Unrunnable("its grammar is not valid.")
        return matcher

    def _vocabulary(self) -> "LLTokenizer":
        if self._tokenizer is None:
            try:
                self._tokenizer = vocabulary_of(self._info)
            except Exception as error:  # the library raises plain Exception
                raise Unrunnable("the tokenizer does not support structured output.") from error
        return self._tokenizer


def keep_allowed(logits: torch.Tensor, matchers: Sequence[Matcher]) -> torch.Tensor:
    """`logits` [rows, vocab] with minus infinity where a row's matcher allows no token; a new
    tensor."""
    vocab = logits.shape[-1]
    words = np.stack([matcher.allowed() for matcher in matchers])
    packed = torch.from_numpy(words).to(logits.device)
    bits = torch.arange(8, dtype=torch.uint8, device=logits.device)
    # [rows, vocab or less]
    allowed = ((packed[:, :, None] >> bits) & 1).bool().flatten(1)[:, :vocab]
    if allowed.shape[1] < vocab:  # ids that the tokenizer does not have
        allowed = torch.nn.functional.pad(allowed, (0, vocab - allowed.shape[1]))
    return logits.masked_fill(~allowed, -torch.inf)
