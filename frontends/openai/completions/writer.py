"""Plain completions: `text_completion`, whole and streamed, one or several prompts in one call."""

from collections.abc import Callable, Sequence
from typing import Any

from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.logprobs import completion_logprobs, echoed_logprobs, prompt_logprobs
from ..answers.writer import Frame, Options, encode_json

PLAIN = b',"logprobs":null,"finish_reason":null}'
"""What follows the text of a choice of which nothing else is told."""


class CompletionWriter:
    """Choice `c` of prompt `p` has index p * n + c, as OpenAI counts them."""

    def __init__(self, id: str, options: Options, decode: Callable[[Sequence[int]], str]) -> None:
        """`decode`: text of token ids, for echoed log-probabilities."""
        self._options, self._decode, self._frame = options, decode, Frame(f"cmpl-{id}", "text_completion", options)
        self._offsets: dict[int, int] = {}

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        """The echoed prompt, and the prompt's token ids where they were asked for."""
        self._frame.count(prompt=prompt_tokens)
        options = self._options
        if options.echo is None and not options.return_token_ids:
            return b""
        out = b""
        for choice in range(options.n):
            index = source * options.n + choice
            text = "" if options.echo is None else options.echo[source]
            entry: dict[str, Any] = {"index": index, "text": text, "logprobs": None, "finish_reason": None}
            if options.return_token_ids:
                entry |= {"prompt_token_ids": list(prompt_token_ids), "token_ids": []}
            self._offsets[index] = len(text)
            out += self._frame.chunk(entry)
        return out

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
                    before = b',"choices":[{"index":%d,"text":' % index
                    out += self._frame.head + before + encode_json(choice.text) + PLAIN + self._frame.tail
            else:
                out += self._rich(index, choice)
        return out

    def _rich(self, index: int, choice: Choice) -> bytes:
        options = self._options
        entry: dict[str, Any] = {"index": index, "text": choice.text, "logprobs": None, "finish_reason": choice.finish_reason}
        if options.logprobs is not None:
            offset = self._offsets.get(index, 0)
            entry["logprobs"] = completion_logprobs(choice.logprobs, options.logprobs, offset, options.tokens_as_ids)
            self._offsets[index] = offset + sum(len(p.chosen.decoded_token) for p in choice.logprobs)
        if choice.stop_reason is not None:
            entry["stop_reason"] = choice.stop_reason
        if options.return_token_ids:
            entry["token_ids"] = choice.token_ids
        return self._frame.chunk(entry)

    def last(self, answers: Sequence[Answer]) -> bytes:
        return self._frame.last(answers)

    def whole(self, answers: Sequence[Answer]) -> bytes:
        options = self._options
        if options.prompt_only:
            for answer in answers:
                answer.choices = [Choice(choice.index, finish_reason="length") for choice in answer.choices]
        entries: list[dict[str, Any]] = []
        for source, answer in enumerate(answers):
            for index, choice in enumerate(answer.choices):
                entry: dict[str, Any] = {
                    "index": source * options.n + index,
                    "text": ("" if options.echo is None else options.echo[source]) + choice.text,
                    "logprobs": self._logprobs(source, answer, index),
                    "finish_reason": choice.finish_reason,
                    "stop_reason": choice.stop_reason,
                }
                if options.return_token_ids:
                    entry |= {"token_ids": choice.token_ids, "prompt_token_ids": list(answer.prompt_token_ids)}
                if options.prompt_logprobs:
                    entry["prompt_logprobs"] = prompt_logprobs(answer.prompt_logprobs or ())
                entries.append(entry)
        return encode_json(self._frame.body("text_completion", entries, answers))

    def _logprobs(self, source: int, answer: Answer, index: int) -> dict[str, Any] | None:
        options = self._options
        if options.logprobs is None:
            return None
        if options.echo is None:
            return completion_logprobs(answer.choices[index].logprobs, options.logprobs, 0, options.tokens_as_ids)
        first = self._decode(answer.prompt_token_ids[:1])
        first_id = answer.prompt_token_ids[0] if options.tokens_as_ids else None
        prompt = echoed_logprobs(first, answer.prompt_logprobs or (), options.logprobs, first_id)
        offset = len(options.echo[source])
        new = completion_logprobs(answer.choices[index].logprobs, options.logprobs, offset, options.tokens_as_ids)
        return {name: prompt[name] + new[name] for name in prompt}
