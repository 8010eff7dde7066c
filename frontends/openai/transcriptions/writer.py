"""What is told of a sound's text, in each of the forms. Pure."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ....protocol.edges.detokenizer_to_client import Finished, PositionLogprobs
from ....protocol.errors import Failure
from ...client.stream import Choice
from ..answers.logprobs import LOWEST
from ..answers.writer import DONE, encode_json
from ..errors import error_event
from ..requests.languages import NAMES
from ..requests.transcriptions import Wanted
from .joining import JoinedText, MarkedText
from .subtitles import Cue, srt, vtt

UNKNOWN = "unknown"
"""Of a language that nobody has said."""


class Times(NamedTuple):
    """Of a sound, in seconds."""

    start: float
    end: float


class Segment(msgspec.Struct):
    """What was heard in one piece."""

    piece: Times
    text: str = ""
    token_ids: list[int] = []
    logprob: float = 0.0
    """The sum of its tokens'."""


class Written(NamedTuple):
    body: bytes
    content_type: str


class TranscriptWriter:
    """Of one call: fed with the updates of the pieces, one piece after the other."""

    def __init__(self, wanted: Wanted, pieces: Sequence[Times], mark: str) -> None:
        self._wanted, self._pieces, self._mark = wanted, pieces, mark
        self._joined = JoinedText()
        self._marked = MarkedText(mark)
        self._texts: list[str] = []
        self._logprobs: list[msgspec.Raw] = []
        self._segments: list[Segment] = []
        self._verbose_segments: list[msgspec.Raw] = []
        """Written when each ends: thousands at once would hold the loop."""
        self._usage = {"audio": 0, "input": 0, "output": 0}

    def begin(self, index: int) -> None:
        self._joined.begin()
        self._marked = MarkedText(self._mark)
        self._segments.append(Segment(self._pieces[index]))

    def add(self, choices: Iterable[Choice]) -> bytes:
        """The events of an update, for a stream; may be empty."""
        events = b""
        for choice in choices:
            segment = self._segments[-1]
            scores = self._scores(segment, choice)
            events += self._delta(self._marked.add(choice.text), scores)
        return events

    def end(self, finished: Finished | None) -> bytes:
        """Of a piece."""
        events = self._delta(self._marked.end(), [])
        one = self._segments[-1]
        one.text = self._joined.piece
        if self._wanted.format == "verbose_json" and self._wanted.segments:
            told = _segment(len(self._segments) - 1, one, self._wanted.sampling.temperature)
            self._verbose_segments.append(msgspec.Raw(encode_json(told)))
        if finished is not None:
            self._usage["audio"] += finished.usage.media_tokens.get("audio", 0)
            self._usage["input"] += finished.usage.prompt_tokens
            self._usage["output"] += finished.completion_tokens
        return events

    def done(self) -> bytes:
        """The events after everything."""
        told: dict[str, Any] = {
            "type": "transcript.text.done", "text": self._text, "usage": self._tokens()
        }  # fmt: skip
        if self._wanted.logprobs:
            told["logprobs"] = self._logprobs
        return _event(told) + DONE

    def failed(self, failure: Failure) -> bytes:
        return error_event(failure) + DONE

    def whole(self) -> Written:
        match self._wanted.format:
            case "text":
                return Written(f"{self._text}\n".encode(), "text/plain")
            case "srt":
                return Written(srt(self._lines()).encode(), "text/plain")
            case "vtt":
                return Written(vtt(self._lines()).encode(), "text/vtt")
            case "verbose_json":
                return Written(encode_json(self._verbose()), "application/json")
            case "json":
                told: dict[str, Any] = {"text": self._text, "usage": self._tokens()}
                if self._wanted.logprobs:
                    told["logprobs"] = self._logprobs
                return Written(encode_json(told), "application/json")

    @property
    def _text(self) -> str:
        return "".join(self._texts)

    def _delta(self, text: str, logprobs: list[msgspec.Raw]) -> bytes:
        if text := self._joined.add(text):
            self._texts.append(text)
        if not (self._wanted.stream and (text or logprobs)):
            return b""
        told: dict[str, Any] = {"type": "transcript.text.delta", "delta": text}
        if self._wanted.logprobs:
            told["logprobs"] = logprobs
        return _event(told)

    def _scores(self, segment: Segment, choice: Choice) -> list[msgspec.Raw]:
        if not self._wanted.scored:
            return []
        segment.token_ids += choice.token_ids
        segment.logprob += sum(_value(position) for position in choice.logprobs)
        if not self._wanted.logprobs:
            return []
        told = [msgspec.Raw(encode_json(_entry(position))) for position in choice.logprobs]
        self._logprobs += told
        return told

    def _lines(self) -> list[Cue]:
        return [Cue(*one.piece, one.text) for one in self._segments]

    def _tokens(self) -> dict[str, Any]:
        audio, given, made = self._usage["audio"], self._usage["input"], self._usage["output"]
        return {
            "type": "tokens",
            "input_tokens": given,
            "input_token_details": {"audio_tokens": audio, "text_tokens": given - audio},
            "output_tokens": made,
            "total_tokens": given + made,
        }

    def _verbose(self) -> dict[str, Any]:
        seconds, languages = self._pieces[-1].end, self._wanted.languages
        language = NAMES[languages[0]].lower() if languages else UNKNOWN
        told = {
            "task": self._wanted.task,
            "language": "english" if self._wanted.task == "translate" else language,
            "duration": round(seconds, 3),
            "text": self._text,
        }
        if self._wanted.segments:
            told["segments"] = self._verbose_segments
        return told | {"usage": {"type": "duration", "seconds": round(seconds, 3)}}


def _segment(index: int, one: Segment, temperature: float) -> dict[str, Any]:
    raw = one.text.encode()
    return {
        "id": index,
        "seek": int(one.piece.start * 100),  # OpenAI's unit: frames of ten milliseconds
        "start": round(one.piece.start, 3),
        "end": round(one.piece.end, 3),
        "text": one.text,
        "tokens": one.token_ids,
        "temperature": temperature,
        "avg_logprob": one.logprob / max(1, len(one.token_ids)),
        "compression_ratio": len(raw) / len(zlib.compress(raw)),
        "no_speech_prob": 0.0,  # no model here tells it
    }


def _value(position: PositionLogprobs) -> float:
    return max(position.chosen.logprob, LOWEST)


def _entry(position: PositionLogprobs) -> dict[str, Any]:
    chosen = position.chosen
    return {
        "token": chosen.decoded_token, "bytes": list(chosen.raw), "logprob": _value(position)
    }  # fmt: skip


def _event(told: dict[str, Any]) -> bytes:
    return b"data: " + encode_json(told) + b"\n\n"
