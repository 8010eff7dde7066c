"""Answers as responses: whole, or as typed events with numbers. Pure."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ....protocol.errors import Failure
from ....protocol.requests.sampling import SamplingParams
from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.logprobs import chat_positions
from ..answers.writer import AnswerOptions, encode_json, trailer, usage
from ..errors import error_body
from ..news.reader import AnswerReader
from ..requests.responses import ResponseCall
from .output import Output

CUT = {"reason": "max_output_tokens"}
CODES = {"overloaded": "rate_limit_exceeded", "invalid_request": "invalid_prompt"}
"""OpenAI's words for why a response failed, by kind of failure; the rest are `server_error`."""

Keep = Callable[[bytes], bool]
"""Stores a response that is complete; returns at once. False: it is not stored."""


class ResponsesWriter:
    def __init__(
        self,
        id: str,
        options: AnswerOptions,
        asked: ResponseCall,
        streamed: bool,
        keep: Keep | None = None,
    ) -> None:
        """`keep`: None where nothing is stored."""
        self._id, self._options, self._echo, self._keep = id, options, asked.echo, keep
        self._reader = AnswerReader(options.reading)
        self._output = Output(id.rpartition("_")[2], streamed)
        self._cut = False
        """It has ended because it had as many tokens as it may."""

    def begin(self, source: int, sampling: SamplingParams) -> None:
        self._reader = AnswerReader(self._options.reading, sampling)

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        shown = msgspec.Raw(self._response("in_progress"))
        event = self._output.event
        return event("response.created", response=shown) + event(
            "response.in_progress", response=shown
        )

    def events(self, source: int, update: Update) -> bytes:
        return b"".join(self._events(choice, self._scores(choice)) for choice in update.choices)

    def last(self, answers: Sequence[Answer]) -> bytes:
        ended = "incomplete" if self._cut else "completed"
        shown = self._ended(answers)
        return self._output.event(f"response.{ended}", response=msgspec.Raw(shown))

    def failed(self, failure: Failure) -> bytes:
        """The event of the API, and behind it one that clients raise who know the event not."""
        code = CODES.get(failure.kind, "server_error")
        error = {"code": code, "message": failure.sentence}
        told = error_body(failure)
        out = self._output.close("incomplete")
        shown = msgspec.Raw(self._response("failed", error=error))
        out += self._output.event("response.failed", response=shown)
        own = {name: told["error"][name] for name in ("code", "message", "param")}
        return out + self._output.event("error", **own, **told)

    def gather(self, source: int, update: Update) -> int:
        written = 0
        for choice in update.choices:
            scores = self._scores(choice)
            self._events(choice, scores)
            written += sum(map(len, scores))
            choice.text, choice.logprobs = "", []
        return written

    def whole(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        yield self._ended(answers)

    def _events(self, choice: Choice, scores: list[msgspec.Raw]) -> bytes:
        self._output.score(scores)
        out = b"".join(map(self._output.add, self._reader.read(choice)))
        if choice.finish_reason is not None:
            self._cut = choice.finish_reason == "length"
            out += self._output.finish("incomplete" if self._cut else "completed")
        return out

    def _scores(self, choice: Choice) -> list[msgspec.Raw]:
        top = self._options.logprobs
        if top is None:
            return []
        return chat_positions(choice.logprobs, top, self._options.tokens_as_ids)

    def _ended(self, answers: Sequence[Answer]) -> bytes:
        status = "incomplete" if self._cut else "completed"
        details = CUT if self._cut else None
        more = {
            "incomplete_details": details,
            "completed_at": None if self._cut else int(time.time()),
            "usage": usage_of(answers),
            **trailer(answers, self._options, False),
        }
        shown = self._response(status, **more)
        if self._keep is None or self._keep(shown):
            return shown
        self._keep = None
        return self._response(status, **more)

    def _response(self, status: str, **more: Any) -> bytes:
        fields: dict[str, Any] = {
            "id": self._id,
            "object": "response",
            "created_at": self._options.created,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": self._options.model,
            "output": self._output.items,
            "store": self._keep is not None,
            "usage": None,
        }
        return encode_json({**fields, **more})[:-1] + b"," + self._echo[1:]


def usage_of(answers: Sequence[Answer]) -> dict[str, Any]:
    counted = usage(answers)
    thought = counted.get("completion_tokens_details", {}).get("reasoning_tokens", 0)
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {"cache_write_tokens": 0, **counted["prompt_tokens_details"]},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": counted["total_tokens"],
        **({"media_options": told} if (told := counted.get("media_options")) else {}),
    }
