"""Answers in Ollama's form: an object, or one a line. Calls come whole. Pure, but for the clock."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ....protocol.errors import Failure
from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.arguments import as_object
from ..answers.logprobs import chat_positions
from ..answers.writer import AnswerOptions, encode_json, told_of
from ..tools.json_reader import Arguments, CallStart, Event, Words
from ..tools.tool_calls import ToolCalls
from .errors import ollama_line

LINES = "application/x-ndjson"
Said = Callable[[str, list[dict[str, Any]]], dict[str, Any]]
"""How an API words a piece of the answer: its text, and its calls."""


def as_message(text: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Of /api/chat."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    return {"message": {**message, "tool_calls": calls} if calls else message}


def as_response(text: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Of /api/generate, which has no tools."""
    return {"response": text}


def head_of(model: str, created: int) -> dict[str, Any]:
    """`created`: Unix seconds."""
    moment = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"model": model, "created_at": moment}


class OllamaWriter:
    def __init__(self, id: str, options: AnswerOptions, said: Said) -> None:
        self._id, self._options, self._said = id, options, said
        self._head = head_of(options.model, options.created)
        self._calls = None if options.tools is None else ToolCalls(options.tools)
        self._open: list[str] = []
        """Name and pieces of the arguments of the call that is being read."""
        self._number = 0
        """Of calls that were told."""
        self._reason = "stop"
        self._text: list[str] = []
        self._made: list[dict[str, Any]] = []
        self._scores: list[Any] = []
        """Of an answer that is not streamed: its text, its calls, its log-probabilities."""

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        return b""

    def events(self, source: int, update: Update) -> bytes:
        out = b""
        for choice in update.choices:
            text, calls = self._split(choice)
            more = self._scored(choice)
            if text or calls or more:
                out += self._line({**self._said(text, calls), "done": False, **more})
        return out

    def last(self, answers: Sequence[Answer]) -> bytes:
        return self._line({**self._said("", []), **self._end(answers)})

    def failed(self, failure: Failure) -> bytes:
        return ollama_line(failure)

    def gather(self, source: int, update: Update) -> int:
        written = 0
        for choice in update.choices:
            text, calls = self._split(choice)
            self._text.append(text)
            self._made += calls
            scores = self._scored(choice).get("logprobs", [])
            self._scores += scores
            written += sum(map(len, scores))
            choice.text, choice.logprobs = "", []
        return written

    def whole(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        body = {**self._head, **self._said("".join(self._text), self._made), **self._end(answers)}
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

    def _split(self, choice: Choice) -> tuple[str, list[dict[str, Any]]]:
        """The text that has come, and the calls that are whole."""
        over = choice.finish_reason is not None
        if over:
            self._reason = "length" if choice.finish_reason == "length" else "stop"
        if self._calls is None:
            return choice.text, []
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        for found in self._calls.events(choice):
            self._take(found, text, calls)
        if over:
            self._finish(text, calls)
        return "".join(text), calls

    def _take(self, found: Event, text: list[str], calls: list[dict[str, Any]]) -> None:
        match found:
            case Words(words):
                self._finish(text, calls)
                text.append(words)
            case CallStart(name):
                self._finish(text, calls)
                self._open = [name]
            case Arguments(piece):
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
