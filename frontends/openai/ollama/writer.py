"""Answers in Ollama's form: an object, or one a line. Calls come whole. Pure, but for the clock."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ....protocol.errors import Failure
from ....protocol.requests.sampling import SamplingParams
from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.logprobs import chat_positions
from ..answers.writer import AnswerOptions, encode_json, told_of
from ..news.reader import AnswerReader, Thinking
from ..tools.arguments import as_object
from ..tools.json_reader import Words
from ..tools.tool_calls import ToolArguments, ToolCall
from .errors import ollama_line
from .facts import moment

LINES = "application/x-ndjson"


class Grown(NamedTuple):
    """What an answer grew by."""

    text: str = ""
    thinking: str = ""
    calls: Sequence[dict[str, Any]] = ()


Said = Callable[[Grown], dict[str, Any]]
"""How an API words a piece of the answer."""


def as_message(grown: Grown) -> dict[str, Any]:
    """Of /api/chat."""
    message: dict[str, Any] = {"role": "assistant", "content": grown.text}
    if grown.thinking:
        message["thinking"] = grown.thinking
    if grown.calls:
        message["tool_calls"] = grown.calls
    return {"message": message}


def as_response(grown: Grown) -> dict[str, Any]:
    """Of /api/generate, which has no tools."""
    return {"response": grown.text, **({"thinking": grown.thinking} if grown.thinking else {})}


def head_of(model: str, created: int) -> dict[str, Any]:
    """`created`: Unix seconds."""
    return {"model": model, "created_at": moment(created)}


class OllamaWriter:
    def __init__(self, id: str, options: AnswerOptions, said: Said) -> None:
        self._id, self._options, self._said = id, options, said
        self._head = head_of(options.model, options.created)
        self._reader = AnswerReader(options.reading)
        self._open: list[str] = []
        """Name and pieces of the arguments of the call that is being read."""
        self._number = 0
        """Of calls that were told."""
        self._reason = "stop"
        self._grown: list[Grown] = []
        self._scores: list[Any] = []
        """Of an answer that is not streamed, with its log-probabilities."""

    def begin(self, source: int, sampling: SamplingParams) -> None:
        self._reader = AnswerReader(self._options.reading, sampling)

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        return b""

    def events(self, source: int, update: Update) -> bytes:
        out = b""
        for choice in update.choices:
            grown = self._split(choice)
            more = self._scored(choice)
            if any(grown) or more:
                out += self._line({**self._said(grown), "done": False, **more})
        return out

    def last(self, answers: Sequence[Answer]) -> bytes:
        return self._line({**self._said(Grown()), **self._end(answers)})

    def failed(self, failure: Failure) -> bytes:
        return ollama_line(failure)

    def gather(self, source: int, update: Update) -> int:
        written = 0
        for choice in update.choices:
            self._grown.append(self._split(choice))
            scores = self._scored(choice).get("logprobs", [])
            self._scores += scores
            written += sum(map(len, scores))
            choice.text, choice.logprobs = "", []
        return written

    def whole(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        text = "".join(one.text for one in self._grown)
        thinking = "".join(one.thinking for one in self._grown)
        calls = [call for one in self._grown for call in one.calls]
        told = self._said(Grown(text, thinking, calls))
        body = {**self._head, **told, **self._end(answers)}
        if self._options.logprobs is not None:
            body["logprobs"] = self._scores
        yield encode_json(body)

    def _line(self, fields: dict[str, Any]) -> bytes:
        return encode_json({**self._head, **fields}) + b"\n"

    def _scored(self, choice: Choice) -> dict[str, list[Any]]:
        top = self._options.logprobs
        if top is None or not choice.logprobs:
            return {}
        return {"logprobs": chat_positions(choice.logprobs, top)}

    def _split(self, choice: Choice) -> Grown:
        """What has come, of calls those that are whole."""
        over = choice.finish_reason is not None
        if over:
            self._reason = "length" if choice.finish_reason == "length" else "stop"
        text: list[str] = []
        thinking: list[str] = []
        calls: list[dict[str, Any]] = []
        for found in self._reader.read(choice):
            if isinstance(found, Thinking):
                thinking.append(found.text)
            else:
                self._take(found, text, calls)
        if over:
            self._finish(text, calls)
        return Grown("".join(text), "".join(thinking), calls)

    def _take(
        self, found: Words | ToolCall | ToolArguments, text: list[str], calls: list[dict[str, Any]]
    ) -> None:
        match found:
            case Words(words):
                self._finish(text, calls)
                text.append(words)
            case ToolCall(_, _, name):
                self._finish(text, calls)
                self._open = [name]
            case ToolArguments(_, piece):
                self._open.append(piece)

    def _finish(self, text: list[str], calls: list[dict[str, Any]]) -> None:
        """The open call, if there is one, is over. One that broke off is text."""
        if not self._open:
            return
        name, *pieces = self._open
        self._open = []
        arguments = as_object("".join(pieces))
        if arguments is None:
            text.append(f"{name}: {''.join(pieces)}")
            return
        function = {"index": self._number, "name": name, "arguments": arguments}
        calls.append({"id": f"call_{self._id}_{self._number}", "function": function})
        self._number += 1

    def _end(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """What the end tells: why, how much, and how long in nanoseconds."""
        spent = {timing.stage: timing.end - timing.start for timing in told_of(answers)[0]}
        ended = [answer.finished for answer in answers if answer.finished is not None]
        return {
            "done": True,
            "done_reason": self._reason,
            "total_duration": nanoseconds(time.monotonic() - self._options.arrival),
            "load_duration": 0,
            "prompt_eval_count": sum(one.usage.prompt_tokens for one in ended),
            "prompt_eval_duration": nanoseconds(spent.get("prefill", 0.0)),
            "eval_count": sum(one.completion_tokens for one in ended),
            "eval_duration": nanoseconds(spent.get("decode", 0.0)),
        }


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
