"""What the writers of answers share: options, frame, usage, timings. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from ....protocol.errors import Failure
from ....protocol.requests.prepared import EffectiveOptions, ItemSource, Timing
from ....protocol.requests.sampling import SamplingParams
from ...client.answer import Answer
from ...client.stream import Update
from ...client.timeline import timeline_of
from ..errors import error_event
from ..news.reading import Reading

_json = msgspec.json.Encoder()
encode_json = _json.encode

DONE = b"data: [DONE]\n\n"


class AnswerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a call asked its answer to contain."""

    created: int
    """Unix seconds."""
    arrival: float
    """Seconds by time.monotonic; timings are relative to it."""
    model: str
    n: int = 1
    logprobs: int | None = None
    prompt_logprobs: bool = False
    return_token_ids: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    """The usage so far in every chunk."""
    tokens_as_ids: bool = False
    """Log-probabilities name a token `token_id:7`, since several may have one text."""
    prompt_only: bool = False
    """Nothing of what was generated is shown or counted."""
    return_timings: bool = False
    timeline: bool = False
    reading: Reading = Reading()
    """How its text is read."""
    echo: tuple[str, ...] | None = None
    """Per prompt, the text that precedes each of its choices."""


class ResponseWriter(Protocol):
    """How one API writes an answer; `source` is the number of the prompt within the call."""

    def begin(self, source: int, sampling: SamplingParams) -> None:
        """The prompt is prepared, and its answer begins; `sampling`: complete. Comes before
        anything else of it."""

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        """The events before a prompt's first text; `prompt_tokens`: ids, or rows without ids."""

    def events(self, source: int, update: Update) -> bytes:
        """The events of one update; may be empty."""

    def last(self, answers: Sequence[Answer]) -> bytes:
        """The events after everything, [DONE] included."""

    def failed(self, failure: Failure) -> bytes:
        """The events that end a stream in the middle of an answer."""

    def gather(self, source: int, update: Update) -> int:
        """Of an answer not streamed: write an update's log-probabilities, read its calls, take
        both out. Bytes."""

    def whole(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        """Its body, in pieces between which others may have their turns."""


class Frame:
    """What is the same in all chunks, encoded once, and around the choices of a whole answer."""

    def __init__(self, id: str, kind: str, options: AnswerOptions) -> None:
        """`kind`: the `object` of its chunks."""
        self._options, created = options, options.created
        self._fixed = {"id": id, "object": kind, "created": created, "model": options.model}
        self.head = b"data: " + encode_json(self._fixed)[:-1]
        """Of a chunk, up to where its choices begin."""
        self.tail = b'],"usage":null}\n\n' if options.include_usage else b"]}\n\n"
        """Of a chunk, from where its choices end."""
        self._prompt = self._completion = 0

    def count(self, prompt: int = 0, completion: int = 0) -> None:
        """So many tokens more: the chunks from here on tell it, where every chunk does."""
        if self._options.continuous_usage:
            self._prompt += prompt
            self._completion += completion
            told = _counted(self._prompt, self._completion)
            self.tail = b'],"usage":' + encode_json(told) + b"}\n\n"

    def chunk(self, choice: object) -> bytes:
        """The event of one choice."""
        return self.head + b',"choices":[' + encode_json(choice) + self.tail

    def last(self, answers: Sequence[Answer]) -> bytes:
        """The events after everything."""
        end = trailer(answers, self._options, self._options.include_usage)
        return (
            self.head + b',"choices":[],' + encode_json(end)[1:] + b"\n\n" if end else b""
        ) + DONE

    def failed(self, failure: Failure) -> bytes:
        """The events that end a stream in the middle of an answer."""
        return error_event(failure) + DONE

    def body(
        self,
        kind: str,
        choices: Iterable[dict[str, Any]],
        answers: Sequence[Answer],
        more: dict[str, Any] | None = None,
    ) -> Iterator[bytes]:
        """Of an answer not streamed, a choice at a time. `kind`: its `object`; `more`: its end."""
        before = encode_json({**self._fixed, "object": kind})[:-1] + b',"choices":['
        for choice in choices:
            yield before + encode_json(choice)
            before = b","
        yield b"]," + encode_json({**trailer(answers, self._options, True), **(more or {})})[1:]


def _counted(prompt: int, completion: int) -> dict[str, int]:
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def usage(answers: Sequence[Answer], prompt_only: bool = False) -> dict[str, Any]:
    prompt, cached, completion = 0, 0, 0
    thought: int | None = None
    media: dict[str, int] = {}
    options: EffectiveOptions = {}
    for finished in (answer.finished for answer in answers):
        if finished is not None:
            prompt += finished.usage.prompt_tokens
            cached += finished.usage.cached_tokens
            completion += 0 if prompt_only else finished.completion_tokens
            if finished.reasoning_tokens is not None:
                thought = (thought or 0) + finished.reasoning_tokens
            options = options or finished.usage.media_options
            for modality, count in finished.usage.media_tokens.items():
                media[f"{modality}_tokens"] = media.get(f"{modality}_tokens", 0) + count
    return {
        **_counted(prompt, completion),
        "prompt_tokens_details": {"cached_tokens": cached, **media},
        **({} if thought is None else {"completion_tokens_details": {"reasoning_tokens": thought}}),
        **({"media_options": options} if options else {}),
    }


def timings(answers: Sequence[Answer], arrival: float) -> list[dict[str, Any]]:
    """Where the time went: stages with their start and end in seconds after the arrival."""
    told = []
    for t in (t for answer in answers if answer.finished for t in answer.finished.timings):
        start, end = round(t.start - arrival, 6), round(t.end - arrival, 6)
        told.append({"stage": t.stage, "start": start, "end": end, "detail": t.detail})
    return told


def told_of(answers: Sequence[Answer]) -> tuple[list[Timing], list[ItemSource]]:
    """Of all prompts of a call together."""
    ended = [answer.finished for answer in answers if answer.finished is not None]
    spent = [timing for finished in ended for timing in finished.timings]
    return spent, [source for answer in answers for source in answer.sources]


def trailer(answers: Sequence[Answer], options: AnswerOptions, asked: bool) -> dict[str, Any]:
    """`usage` and, on request, `timings`, for the end of an answer."""
    end: dict[str, Any] = {"usage": usage(answers, options.prompt_only)} if asked else {}
    if options.return_timings:
        end["timings"] = timings(answers, options.arrival)
    if options.timeline:
        end["timeline"] = timeline_of(*told_of(answers), options.arrival)
    return end
