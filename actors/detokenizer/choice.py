"""One choice of one request: tokens in, deltas out, and the one place that fixes where it ends."""

from collections.abc import Sequence

from ...protocol.edges.detokenizer_to_client import Delta, Logprob, PositionLogprobs
from ...protocol.edges.gpu_runner_to_scheduler import TokenLogprobs
from ...protocol.edges.scheduler_to_detokenizer import Output
from ...protocol.requests.sampling import SamplingParams
from ...protocol.requests.thinking import Thought
from .stops import StopFinder
from .text import text_of
from .vocabulary import Vocabulary


class OutputGap(Exception):
    """Tokens of a choice are missing."""


class Choice:
    """The text state of one choice."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        sampling: SamplingParams,
        context: Sequence[int],
        eos_token_ids: tuple[int, ...],
        released: int = 0,
    ) -> None:
        self._vocabulary = vocabulary
        self._sampling = sampling
        self._eos = eos_token_ids
        self._text = text_of(vocabulary, context, sampling.skip_special_tokens)
        self._stops = StopFinder(sampling.stop, sampling.include_stop_str_in_output)
        thinking = sampling.thinking
        self._thought = None if thinking is None or not thinking.known else Thought(thinking)
        self._offset = 0
        """Characters shown so far, those of an earlier attempt included."""
        self._resume = released
        """Characters that the client had before this attempt."""
        self.tokens = 0
        """Tokens delivered: all up to the cut."""
        self.ended = False
        self.cut = False
        """A stop string ended it before the scheduler knew of an end."""

    @property
    def reasoning_tokens(self) -> int | None:
        """Those of its tokens that are thinking; None: it is not known."""
        return None if self._thought is None else self._thought.tokens

    def advance(self, output: Output) -> Delta | None:
        """What `output` adds to what is known. Raises OutputGap where positions are missing."""
        if self.ended:
            return None
        known = self.tokens - output.position
        if known < 0:
            raise OutputGap
        before = self.tokens
        text, stop = self._read(output, known)
        self.ended = stop is not None or output.finish is not None
        self.cut = stop is not None and output.finish is None
        offset, text = self._place(text)
        position, taken = before, self.tokens - before
        if output.replayed:
            position, taken = self.tokens, 0
        if not (taken or text or self.ended):
            return None
        new = slice(known, known + taken)
        return Delta(
            id=output.id,
            attempt=output.attempt,
            choice=output.choice,
            position=position,
            offset=offset,
            token_ids=output.token_ids[new],
            text=text,
            logprobs=tuple(named(self._vocabulary, entry) for entry in output.logprobs[new]),
            finish_reason=output.finish if stop is None else "stop",
            stop_reason=self._stop_reason(output) if stop is None else stop,
        )

    def _read(self, output: Output, known: int) -> tuple[str, str | None]:
        """The text of what is new, to its end where the choice ends, and the stop string found."""
        text, stop = self._show(output.token_ids[known:], self._hides_last(output))
        if stop is None and output.finish is not None:
            tail, stop = self._stops.feed(self._text.flush(), self._armed)
            text += tail if stop is not None else tail + self._stops.flush()
        return text, stop

    def _place(self, text: str) -> tuple[int, str]:
        """Where new text begins, and what of it the client had not from an earlier attempt."""
        offset = self._offset
        self._offset += len(text)
        if offset < self._resume:
            return self._resume, text[self._resume - offset :]
        return offset, text

    @property
    def _armed(self) -> bool:
        """No stop string ends within the first `min_tokens` tokens."""
        return self.tokens > self._sampling.min_tokens

    def _show(self, fresh: tuple[int, ...], hide_last: bool) -> tuple[str, str | None]:
        """The text of new tokens, counting them up to the one in which a stop string ends."""
        shown: list[str] = []
        last = len(fresh) - 1
        for index, token_id in enumerate(fresh):
            self.tokens += 1
            if self._thought is not None:
                self._thought.advance(token_id)
            if hide_last and index == last:
                break
            piece, stop = self._stops.feed(self._text.push(token_id), self._armed)
            shown.append(piece)
            if stop is not None:
                return "".join(shown), stop
        return "".join(shown), None

    def _hides_last(self, output: Output) -> bool:
        """The token that ended the choice belongs to `token_ids`, not to the text."""
        return (
            output.stop_token is not None
            and output.finish == "stop"
            and not self._sampling.include_stop_str_in_output
        )

    def _stop_reason(self, output: Output) -> int | None:
        token = output.stop_token
        if (
            token is None
            or output.finish != "stop"
            or (token in self._eos and not self._sampling.ignore_eos)
        ):
            return None
        return token


def named(vocabulary: Vocabulary, entry: TokenLogprobs) -> PositionLogprobs:
    """Log-probabilities of one position with the tokens' texts and bytes."""
    chosen = Logprob(entry.token_id, entry.logprob, entry.rank, *vocabulary.token(entry.token_id))
    top = tuple(
        Logprob(id, value, rank, *vocabulary.token(id))
        for rank, (id, value) in enumerate(entry.top, 1)
    )
    return PositionLogprobs(chosen, top)
