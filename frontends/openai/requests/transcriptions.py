"""What a call for the text of a sound asks for: the fields of its form. Every refusal names the
field. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from ....protocol.errors import invalid, refuse
from ....protocol.requests.sampling import SamplingParams
from ...inputs.unread import Unread
from ...validation import wrong_field
from .common import made_sampling
from .languages import language_code
from .schema import Body, Priority, note_names

Task = Literal["transcribe", "translate"]
Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
FORMATS: tuple[Format, ...] = ("json", "text", "srt", "verbose_json", "vtt")
LISTS = (
    "timestamp_granularities", "include", "keywords", "languages", "stop",
    "known_speaker_names", "known_speaker_references",
)  # fmt: skip
"""Fields that may come more than once, and have `[]` behind their names then."""
MOST_WORDS = 64
"""Keywords, and languages."""
PIECE_SECONDS = 30.0
"""Of a sound, at most, that is heard at once: the window of the encoders that most models have."""
SHORTEST_PIECE = 1.0
TOKENS_A_SECOND, TOKENS_MORE = 16, 64
"""An answer has at most so many tokens unless its caller says: twice as many as quick speech."""
COPIED = (
    "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
    "repetition_penalty", "stop",
)  # fmt: skip
"""Fields with the same meaning here and in SamplingParams."""
SPEAKERS = "It is not supported: no model here tells speakers apart."


class TranscriptionRequest(Body, kw_only=True):
    """Beside the file."""

    language: str | None = None
    languages: list[str] = msgspec.field(default_factory=list)
    prompt: str | None = None
    keywords: list[str] = msgspec.field(default_factory=list)
    response_format: str = "json"
    temperature: float = 0.0
    timestamp_granularities: list[str] = msgspec.field(default_factory=list)
    include: list[str] = msgspec.field(default_factory=list)
    stream: bool = False
    chunking_strategy: str | None = None
    known_speaker_names: list[str] = msgspec.field(default_factory=list)
    known_speaker_references: list[str] = msgspec.field(default_factory=list)
    # Ours, and vLLM's.
    piece_seconds: float = PIECE_SECONDS
    seed: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    stop: list[str] | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    priority: Priority | None = None
    request_id: str | None = None


class Wanted(msgspec.Struct, frozen=True):
    """What is wanted of one sound."""

    task: Task
    format: Format
    languages: tuple[str, ...]
    """Codes of those that are spoken, as far as the caller says."""
    hint: str
    """Words that may occur, or what was said before."""
    hints: tuple[str, ...]
    """The fields that say it."""
    stream: bool
    logprobs: bool
    """They are told."""
    segments: bool
    """Of a verbose answer: it has them."""
    piece_seconds: float
    priority: int
    request_id: str | None
    sampling: SamplingParams
    max_tokens: int | None
    """Of one piece; None: as many as its speech may need."""

    @property
    def scored(self) -> bool:
        """Log-probabilities are needed."""
        return self.logprobs or self.format == "verbose_json"

    def sampled(self, seconds: float) -> SamplingParams:
        """Of a piece that lasts so long."""
        most = self.max_tokens
        if most is None:
            most = int(seconds * TOKENS_A_SECOND) + TOKENS_MORE
        return self.sampling.replace(max_tokens=most)


def read_fields(fields: Mapping[str, Sequence[str]], unread: Unread) -> TranscriptionRequest:
    """By their names, as they came. `unread` gathers what is ignored. Raises RequestError."""
    given: dict[str, Any] = {}
    for written, values in fields.items():
        name = written.removesuffix("[]")
        if name.startswith("chunking_strategy["):
            inner = name.removeprefix("chunking_strategy[").removesuffix("]")
            if inner == "type":
                given["chunking_strategy"] = values[0]
            else:
                unread.tell(name)
        elif name in LISTS:
            given[name] = [*given.get(name, ()), *values]
        elif len(values) > 1 or name in given:
            raise invalid("This field comes twice.", name[:64], "invalid_form")
        else:
            given[name] = values[0]
    note_names(TranscriptionRequest, {name: bool(value) for name, value in given.items()}, unread)
    known = {
        name: value
        for name, value in given.items()
        if name in TranscriptionRequest.__struct_fields__ and value != ""
    }
    try:
        return msgspec.convert(known, TranscriptionRequest, strict=False)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error)) from None


def read_wanted(body: TranscriptionRequest, task: Task) -> Wanted:
    """Raises RequestError."""
    _check(body)
    stream, told = body.stream, "logprobs" in body.include
    if told and body.response_format != "json":
        text = "`logprobs` needs the response format `json`."
        raise invalid(text, "include", "contradicting_fields")
    sampling = {name: value for name in COPIED if (value := getattr(body, name)) is not None}
    if told or body.response_format == "verbose_json":
        sampling["logprobs"] = 0
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    made = made_sampling(
        {**sampling, "temperature": body.temperature, "max_tokens": limit},
        {} if body.max_completion_tokens is None else {"max_tokens": "max_completion_tokens"},
    )
    hints = {
        "prompt": (body.prompt or "").strip(),
        "keywords": ", ".join(filter(None, (word.strip() for word in body.keywords))),
    }
    return Wanted(
        task=task,
        format=next(form for form in FORMATS if form == body.response_format),
        languages=_languages(body),
        hint=" ".join(filter(None, hints.values())),
        hints=tuple(name for name, said in hints.items() if said),
        stream=stream,
        logprobs=told,
        segments="segment" in body.timestamp_granularities or not body.timestamp_granularities,
        piece_seconds=body.piece_seconds,
        priority=body.priority or 0,
        request_id=body.request_id,
        sampling=made,
        max_tokens=limit,
    )


def _languages(body: TranscriptionRequest) -> tuple[str, ...]:
    if body.language is not None:
        if body.languages:
            raise invalid("It excludes `language`.", "languages", "contradicting_fields")
        return (language_code(body.language, "language"),)
    if len(body.languages) > MOST_WORDS:
        raise invalid(f"At most {MOST_WORDS} languages.", "languages", "out_of_range")
    return tuple(dict.fromkeys(language_code(one, "languages") for one in body.languages))


def _check(body: TranscriptionRequest) -> None:
    if body.response_format == "diarized_json":
        raise refuse("unsupported", SPEAKERS, "response_format", "unsupported")
    for name in ("known_speaker_names", "known_speaker_references"):
        if getattr(body, name):
            raise refuse("unsupported", SPEAKERS, name, "unsupported")
    if body.response_format not in FORMATS:
        text = f"Expected one of {', '.join(FORMATS)}."
        raise invalid(text, "response_format", "wrong_type")
    if body.chunking_strategy not in (None, "auto", "server_vad"):
        raise invalid("Expected auto or server_vad.", "chunking_strategy", "wrong_type")
    _check_choices(body.include, ("logprobs",), "include")
    if "word" in body.timestamp_granularities:
        text = "Times of words are not supported: the model does not tell them."
        raise refuse("unsupported", text, "timestamp_granularities", "unsupported")
    _check_choices(body.timestamp_granularities, ("segment",), "timestamp_granularities")
    if body.timestamp_granularities and body.response_format != "verbose_json":
        text = "It needs the response format `verbose_json`."
        raise invalid(text, "timestamp_granularities", "contradicting_fields")
    if body.stream and body.response_format not in ("json", "text"):
        text = "A stream is of text: it excludes this response format."
        raise invalid(text, "response_format", "contradicting_fields")
    if not SHORTEST_PIECE <= body.piece_seconds <= PIECE_SECONDS:
        text = f"Expected {SHORTEST_PIECE:g} to {PIECE_SECONDS:g} seconds."
        raise invalid(text, "piece_seconds", "out_of_range")
    if len(body.keywords) > MOST_WORDS:
        raise invalid(f"At most {MOST_WORDS} keywords.", "keywords", "out_of_range")


def _check_choices(given: Sequence[str], known: Sequence[str], where: str) -> None:
    for value in given:
        if value not in known:
            raise invalid(f"Expected {' or '.join(known)}.", where, "wrong_type")
