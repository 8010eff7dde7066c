"""What a model family is to the preprocessor: placeholders and positions in the shell, features in a decode worker.

A family's file declares `MODEL_TYPES` and `load(checkpoint, tokenizer) -> Family`. The shell uses everything but
`features`, whose implementation imports torch and transformers when it is called.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ....protocol.errors import EngineError, RequestError, refuse
from ....protocol.prepared import Span
from ....protocol.request import Modality
from ..checkpoint import Checkpoint
from ..tokens import TextTokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Grid = tuple[int, int, int]
"""(t, h, w) in patches, before merging."""


class Placeholder(NamedTuple):
    """How a prompt names one item."""

    token: str
    token_id: int
    text: str
    """What a template without parts gets in its place: the token with the marks that the model expects around it."""


@dataclass(frozen=True)
class PlacedItem:
    """One item that has its place in the prompt: the run [start, start + rows)."""

    modality: Modality
    start: int
    rows: int
    grid: Grid | None = None
    seconds_per_grid: float = 0.0
    sound: int = 0
    """Rows of the clip's own sound, which lies between its frames: the run is then that of `Family.interleaved`."""


class Piece(NamedTuple):
    """Some tokens of a clip that carries its sound: rows [offset, offset + length) of picture or sound, or a mark."""

    token_id: int
    modality: Modality | None
    length: int = 1
    offset: int = 0


class Sized(NamedTuple):
    """What the shell knows of an item after decoding."""

    rows: int
    grid: Grid | None = None
    seconds_per_grid: float = 0.0
    pieces: tuple[Piece, ...] = ()
    """Of a clip with its sound; else its run is `rows` placeholders."""


@dataclass(frozen=True)
class MediaFeatures:
    """What the family's encoder takes for one item."""

    tensors: "dict[str, NDArray[Any]]"
    rows: int
    grid: Grid | None = None
    seconds_per_grid: float = 0.0
    dtype: str | None = None
    """Of the tensors where numpy has no such type: bfloat16, as its bits."""


@dataclass(frozen=True)
class Clip:
    """A decoded video: `frames` [T, H, W, 3] uint8; `fps` is what the caller asked to sample at, if anything."""

    frames: "NDArray[np.uint8]"
    fps: float | None = None


@dataclass(frozen=True)
class Family(ABC):
    """One loaded family."""

    checkpoint: Checkpoint
    placeholders: dict[Modality, Placeholder]
    options: dict[Modality, frozenset[str]] = field(default_factory=dict)
    """Names of `mm_processor_kwargs` that the modality's features depend on."""

    @abstractmethod
    def positions(self, length: int, token_ids: Sequence[int], placed: Sequence[PlacedItem]) -> tuple[bytes | None, int]:
        """(`Prepared.positions`, `Prepared.position_delta`) of an expanded prompt; `placed` is in prompt order."""

    @abstractmethod
    def rows_of(self, modality: Modality, grid: Grid | None) -> int | None:
        """Embedding rows of a ready-made embedding with this grid; None: any number. RequestError for a grid that is missing,
        that its tower never makes, or that means nothing."""

    @abstractmethod
    def features(self, modality: Modality, media: Any, options: dict[str, Any], max_rows: int) -> MediaFeatures:
        """In a decode worker: `media` is a PIL image, a `Clip`, or float32 samples [n] at the model's rate."""

    @property
    def hears_clips(self) -> bool:
        """Whether a clip's sound can be laid between its frames (`use_audio_in_video`)."""
        return False

    def interleaved(self, clip: Sized, sound: int) -> tuple[Piece, ...]:
        """The run of a clip with `sound` rows of its own sound. Raises TypeError unless `hears_clips`."""
        raise TypeError(f"{type(self).__name__} lays no sound between frames")

    def pixel_range(self, modality: Modality) -> tuple[int, int] | None:
        """Least and most pixels of a picture or frame where nobody says otherwise; None: the model takes one size."""
        return None

    @property
    def embed_width(self) -> int:
        """Columns of a ready-made embedding."""
        return self.checkpoint.info.embed_width

    @property
    def sampling_rate(self) -> int:
        """Samples per second that the audio tower takes."""
        return int(self.checkpoint.audio.get("sampling_rate", 16000))

    @property
    def max_frames(self) -> int | None:
        """Most frames of a clip that the model takes."""
        value = self.checkpoint.video.get("max_frames")
        return int(value) if value else None

    @property
    def sample_fps(self) -> float | None:
        """Frames per second, for a model that samples clips by rate."""
        video = self.checkpoint.video
        return float(video.get("fps") or 2.0) if video.get("do_sample_frames") else None


def placeholder(
    tokenizer: TextTokenizer, token_id: int | None, before: int | None = None, after: int | None = None
) -> Placeholder:
    """From config.json's ids. Raises EngineError where the tokenizer does not know one."""
    texts = [tokenizer.token(number) if number is not None else "" for number in (before, token_id, after)]
    if token_id is None or any(text is None for text in texts):
        raise EngineError("config.json and tokenizer.json of the model do not agree on the placeholder tokens.")
    return Placeholder(str(texts[1]), token_id, "".join(str(text) for text in texts))


def expand(
    token_ids: Sequence[int], placeholders: dict[Modality, Placeholder], items: dict[Modality, list[Sized]]
) -> tuple[list[int], dict[Modality, list[Span]]]:
    """Give every item its run of placeholder tokens. `items` is per modality in prompt order.

    A prompt may name an item by one token or, where the counts fit, by its whole run. Raises RequestError.
    """
    by_token = {placeholders[modality].token_id: modality for modality in items if items[modality]}
    whole: dict[Modality, bool] = {}
    for modality, sized in items.items():
        found = sum(1 for token in token_ids if token == placeholders[modality].token_id)
        rows = sum(item.rows for item in sized)
        if found not in (len(sized), rows):
            raise too_many(placeholders[modality])
        whole[modality] = found != len(sized)
    out: list[int] = []
    spans: dict[Modality, list[Span]] = {modality: [] for modality in items}
    at = 0
    while at < len(token_ids):
        token = token_ids[at]
        kind = by_token.get(token)
        if kind is None:
            out.append(token)
            at += 1
            continue
        rows, _, _, pieces = items[kind][len(spans[kind])]
        if pieces:
            if whole[kind]:
                raise refuse("invalid_request", "A clip with its sound is named by one placeholder.")
            spans[kind].append(Span(len(out), sum(piece.length for piece in pieces)))
            for piece in pieces:
                out.extend([piece.token_id] * piece.length)
            at += 1
            continue
        if whole[kind] and list(token_ids[at : at + rows]) != [token] * rows:
            raise refuse("invalid_request", f"A run of '{placeholders[kind].token}' has not the length of its item, {rows}.")
        spans[kind].append(Span(len(out), rows))
        out.extend([token] * rows)
        at += rows if whole[kind] else 1
    return out, spans


def without_grid(modality: Modality, grid: Grid | None) -> None:
    """Of embeddings that are a plain row of vectors. Raises RequestError where a grid came with them."""
    if grid is not None:
        raise refuse("invalid_request", f"Embeddings of {modality} items have no grid with this model; leave it out.")


def too_many(placeholder: Placeholder) -> RequestError:
    return refuse(
        "invalid_request", f"Found more '{placeholder.token}' placeholders in input prompt than actual multimodal data items."
    )
