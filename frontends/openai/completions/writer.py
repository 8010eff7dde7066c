"""Plain completions: `text_completion`, whole and streamed, one or several prompts in one call."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ....protocol.errors import Failure
from ....protocol.requests.sampling import SamplingParams
from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.logprobs import NULL, CompletionScores, prompt_logprobs
from ..answers.writer import AnswerOptions, Frame, encode_json

PLAIN = b',"logprobs":null,"finish_reason":null}'
"""What follows the text of a choice of which nothing else is told."""


class CompletionWriter:
    """Choice `c` of prompt `p` has index p * n + c, as OpenAI counts them."""

    def __init__(
        self, id: str, options: AnswerOptions, decode: Callable[[Sequence[int]], str]
    ) -> None:
        """`decode`: text of token ids, for echoed log-probabilities."""
        self._options, self._decode = options, decode
        self._frame = Frame(f"cmpl-{id}", "text_completion", options)
        self._offsets: dict[int, int] = {}
        self._scores: dict[tuple[int, int | None], CompletionScores] = {}
        """Of an answer not streamed: by prompt and choice; None: of the echoed prompt itself."""
        self._prompts: dict[int, list[msgspec.Raw]] = {}
        """Its `prompt_logprobs`, by prompt."""

    def begin(self, source: int, sampling: SamplingParams) -> None:
        """A text is read as nothing else."""

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        """The echoed prompt, and the prompt's token ids where they were asked for."""
        self._frame.count(prompt=prompt_tokens)
        options = self._options
        if options.echo is None and not options.return_token_ids:
            return b""
        text = "" if options.echo is None else options.echo[source]
        written = msgspec.Raw(encode_json(text))
        same: dict[str, Any] = {"text": written, "logprobs": None, "finish_reason": None}
        if options.return_token_ids:
            ids = msgspec.Raw(encode_json(list(prompt_token_ids)))
            same |= {"prompt_token_ids": ids, "token_ids": []}
        chunks = []
        for index in range(source * options.n, (source + 1) * options.n):
            self._offsets[index] = len(text)
            chunks.append(self._frame.chunk({"index": index, **same}))
        return b"".join(chunks)

    def events(self, source: int, update: Update) -> bytes:
        out = b""
        plain = self._options.logprobs is None and not self._options.return_token_ids
        for choice in update.choices:
            index = source * self._options.n + choice.index
            if self._options.prompt_only:
                choice = Choice(choice.index, finish_reason=choice.finish_reason and "length")
            self._frame.count(completion=len(choice.token_ids))
            if plain and choice.finish_reason is None:
                if choice.text:
                    text = b',"choices":[{"index":%d,"text":' % index + encode_json(choice.text)
                    out += self._frame.head + text + PLAIN + self._frame.tail
            else:
                out += self._rich(index, choice)
        return out

    def _rich(self, index: int, choice: Choice) -> bytes:
        options = self._options
        entry: dict[str, Any] = {
            "index": index,
            "text": choice.text,
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }
        if options.logprobs is not None:
            offset = self._offsets.get(index, 0)
            scores = CompletionScores(options.logprobs, options.tokens_as_ids)
            scores.add(choice.logprobs)
            entry["logprobs"] = scores.shown(offset)
            self._offsets[index] = offset + choice.scored + scores.characters
        if choice.stop_reason is not None:
            entry["stop_reason"] = choice.stop_reason
        if options.return_token_ids:
            entry["token_ids"] = choice.token_ids
        return self._frame.chunk(entry)

    def last(self, answers: Sequence[Answer]) -> bytes:
        return self._frame.last(answers)

    def failed(self, failure: Failure) -> bytes:
        return self._frame.failed(failure)

    def gather(self, source: int, update: Update) -> int:
        options, written = self._options, 0
        for choice in update.choices:
            if options.logprobs is not None and not options.prompt_only:
                written += self._scores_of(source, choice.index).add(choice.logprobs)
            choice.logprobs = []
        if update.prompt_logprobs is not None:
            if options.prompt_logprobs:
                table = prompt_logprobs(update.prompt_logprobs)
                self._prompts.setdefault(source, [NULL]).extend(table)
                written += sum(map(len, table))
            if options.echo is not None and options.logprobs is not None:
                written += self._scores_of(source).add(update.prompt_logprobs)
            update.prompt_logprobs = None
        return written

    def _scores_of(self, source: int, choice: int | None = None) -> CompletionScores:
        """Of a choice, or of the prompt."""
        known = self._scores.get((source, choice))
        if known is None:
            known = self._scores[source, choice] = CompletionScores(
                self._options.logprobs or 0, self._options.tokens_as_ids
            )
        return known

    def whole(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        return self._frame.body("text_completion", self._entries(answers), answers)

    def _entries(self, answers: Sequence[Answer]) -> Iterator[dict[str, Any]]:
        options = self._options
        for source, answer in enumerate(answers):
            prompt = self._of_prompt(source, answer)
            for choice in answer.choices:
                if options.prompt_only:
                    choice = Choice(choice.index, finish_reason="length")
                entry: dict[str, Any] = {
                    "index": source * options.n + choice.index,
                    "text": ("" if options.echo is None else options.echo[source]) + choice.text,
                    "logprobs": self._logprobs(source, choice.index, answer),
                    "finish_reason": choice.finish_reason,
                    "stop_reason": choice.stop_reason,
                }
                if options.return_token_ids:
                    entry["token_ids"] = choice.token_ids
                yield entry | prompt

    def _of_prompt(self, source: int, answer: Answer) -> dict[str, msgspec.Raw]:
        """What each choice says of it, written once."""
        told: dict[str, Any] = {}
        if self._options.return_token_ids:
            told["prompt_token_ids"] = list(answer.prompt_token_ids)
        if self._options.prompt_logprobs:
            told["prompt_logprobs"] = self._prompts.get(source, [NULL])
        return {name: msgspec.Raw(encode_json(value)) for name, value in told.items()}

    def _logprobs(self, source: int, index: int, answer: Answer) -> dict[str, Any] | None:
        options = self._options
        if options.logprobs is None:
            return None
        if options.echo is None:
            return self._scores_of(source, index).shown()
        prompt = CompletionScores(options.logprobs, options.tokens_as_ids)
        prompt.begin(self._decode(answer.prompt_token_ids[:1]), answer.prompt_token_ids[0])
        first, rest = prompt.shown(), self._scores_of(source).shown(prompt.characters)
        new = self._scores_of(source, index).shown(len(options.echo[source]))
        return {name: first[name] + rest[name] + new[name] for name in first}
