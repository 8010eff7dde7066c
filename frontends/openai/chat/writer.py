"""Chat answers: `chat.completion` and its chunks."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ....protocol.errors import Failure
from ....protocol.requests.sampling import SamplingParams
from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.logprobs import NULL, chat_logprobs, chat_positions, prompt_logprobs
from ..answers.writer import AnswerOptions, Frame, encode_json
from ..news.reader import AnswerReader, Gathered, News, Thinking
from ..tools.json_reader import Words
from ..tools.tool_calls import ToolCall

PLAIN = b'},"logprobs":null,"finish_reason":null}'
"""What follows the text of a choice of which nothing else is told."""


class ChatWriter:
    def __init__(self, id: str, options: AnswerOptions) -> None:
        self._options = options
        self._frame = Frame(f"chatcmpl-{id}", "chat.completion.chunk", options)
        self._before = [
            self._frame.head + b',"choices":[{"index":%d,"delta":{"content":' % i
            for i in range(options.n)
        ]
        self._readers = [AnswerReader(options.reading) for _ in range(options.n)]
        self._said = [Gathered() for _ in range(options.n)]
        """Of an answer that is not streamed, per choice."""
        self._scores: list[list[msgspec.Raw]] = [[] for _ in range(options.n)]
        """Of an answer that is not streamed, per choice."""
        self._prompt = [NULL]
        """Its `prompt_logprobs`."""

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        self._frame.count(prompt=prompt_tokens)
        head, tail = self._frame.head, self._frame.tail
        if self._options.return_token_ids:
            head += b',"prompt_token_ids":' + encode_json(list(prompt_token_ids))
        role = b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        return b"".join(
            head + b',"choices":[{"index":%d,' % i + role + tail for i in range(self._options.n)
        )

    def begin(self, source: int, sampling: SamplingParams) -> None:
        reading = self._options.reading
        self._readers = [AnswerReader(reading, sampling) for _ in range(self._options.n)]

    def events(self, source: int, update: Update) -> bytes:
        out = b""
        for choice in update.choices:
            self._frame.count(completion=len(choice.token_ids))
            if self._options.reading.plain:
                out += self._text(choice) if choice.text or choice.token_ids else b""
            else:
                out += self._news(choice)
            if choice.finish_reason is not None:
                out += self._finish(choice)
        return out

    def _text(self, choice: Choice) -> bytes:
        """All of it."""
        if self._options.logprobs is not None or self._options.return_token_ids:
            return self._rich(choice, {"content": choice.text})
        text = encode_json(choice.text)
        told = self._before[choice.index] + text + PLAIN + self._frame.tail
        return told if choice.text else b""

    def _news(self, choice: Choice) -> bytes:
        """A chunk for each; what is told of tokens goes with the first."""
        deltas = [_delta(news) for news in self._readers[choice.index].read(choice)]
        rich = self._options.logprobs is not None or self._options.return_token_ids
        out = b""
        if rich and choice.token_ids:
            out, deltas = self._rich(choice, deltas[0] if deltas else {"content": ""}), deltas[1:]
        return out + b"".join(self._frame.chunk(_changed(choice, delta)) for delta in deltas)

    def _rich(self, choice: Choice, delta: dict[str, Any]) -> bytes:
        body = self._frame.head + b',"choices":[{"index":%d,"delta":' % choice.index
        body += encode_json(delta) + b',"logprobs":'
        top, scores = self._options.logprobs, None
        if top is not None:
            scores = chat_logprobs(choice.logprobs, top, self._options.tokens_as_ids)
        body += encode_json(scores)
        body += b',"finish_reason":null'
        if self._options.return_token_ids:
            body += b',"token_ids":' + encode_json(choice.token_ids)
        return body + b"}" + self._frame.tail

    def _finish(self, choice: Choice) -> bytes:
        reason = self._readers[choice.index].reason(choice.finish_reason)
        end = _changed(choice, {}, reason)
        if choice.stop_reason is not None:
            end["stop_reason"] = choice.stop_reason
        return self._frame.chunk(end)

    def last(self, answers: Sequence[Answer]) -> bytes:
        return self._frame.last(answers)

    def failed(self, failure: Failure) -> bytes:
        return self._frame.failed(failure)

    def gather(self, source: int, update: Update) -> int:
        options, written = self._options, 0
        for choice in update.choices:
            if options.logprobs is not None:
                positions = chat_positions(choice.logprobs, options.logprobs, options.tokens_as_ids)
                self._scores[choice.index] += positions
                written += sum(map(len, positions))
            choice.logprobs = []
            if not options.reading.plain:
                for news in self._readers[choice.index].read(choice):
                    self._said[choice.index].add(news)
                choice.text = ""
        if update.prompt_logprobs is not None:
            table = prompt_logprobs(update.prompt_logprobs)
            self._prompt += table
            written += sum(map(len, table))
            update.prompt_logprobs = None
        return written

    def whole(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        (answer,) = answers
        more: dict[str, Any] = {}
        if self._options.return_token_ids:
            more["prompt_token_ids"] = list(answer.prompt_token_ids)
        if self._options.prompt_logprobs:
            more["prompt_logprobs"] = self._prompt
        return self._frame.body("chat.completion", map(self._entry, answer.choices), answers, more)

    def _entry(self, choice: Choice) -> dict[str, Any]:
        options = self._options
        message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
        if not options.reading.plain:
            message |= _message(self._said[choice.index])
        reason = self._readers[choice.index].reason(choice.finish_reason)
        scores = {"content": self._scores[choice.index], "refusal": None}
        entry: dict[str, Any] = {
            "index": choice.index,
            "message": message,
            "logprobs": None if options.logprobs is None else scores,
            "finish_reason": reason,
            "stop_reason": choice.stop_reason,
        }
        if options.return_token_ids:
            entry["token_ids"] = choice.token_ids
        return entry


def _changed(choice: Choice, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """What a chunk tells of a choice."""
    return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": reason}


def _delta(news: News) -> dict[str, Any]:
    """Thinking under the names of DeepSeek's API and of vLLM's."""
    match news:
        case Thinking(text):
            return {"reasoning_content": text, "reasoning": text}
        case Words(text):
            return {"content": text}
        case ToolCall(number, id, name):
            function = {"name": name, "arguments": ""}
            return {
                "tool_calls": [
                    {"index": number, "id": id, "type": "function", "function": function}
                ]
            }
        case _:
            return {"tool_calls": [{"index": news.number, "function": {"arguments": news.text}}]}


def _message(said: Gathered) -> dict[str, Any]:
    """What a message has of them; `content` is null where it has something else."""
    told: dict[str, Any] = {"content": said.words}
    if said.thinking:
        told |= {"reasoning_content": said.thinking, "reasoning": said.thinking}
    if said.calls:
        told["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in said.calls
        ]
    if len(told) > 1 and not said.words:
        told["content"] = None
    return told
