"""What goes into a processor and what comes out, for one item of a prompt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...protocol.facts import Frame
from ...protocol.requests.request import Modality

Kind = Literal["image", "video", "audio"]
Options = dict[str, Any]


@dataclass(frozen=True)
class Clip:
    """Frames that were chosen from a video, and where they stood in it."""

    frames: NDArray[np.uint8]
    """[T, H, W, 3]."""
    fps: float | None = None
    """Frames per second of the source."""
    indices: tuple[int, ...] | None = None
    """Of each frame in the source, from 0; None: they are the source's first ones."""
    total_num_frames: int | None = None
    """Of the source; None: as many as there are here."""


@dataclass(frozen=True)
class Part:
    """What one encoder takes of an item."""

    kind: Kind
    """Which `get_<kind>_features` it is for: a clip of some models is a row of images."""
    tensors: dict[str, NDArray[Any]]
    """By that method's parameters."""
    rows: int
    """Embeddings that the encoder makes of it."""
    embed_token_id: int
    """The token that stands for one row in the item's run."""


@dataclass(frozen=True)
class ProcessedItem:
    """One item, whatever stands beside it in a prompt."""

    text: str
    """What replaces the placeholder in a prompt's text; each stretch of embedding tokens is one
    token in it."""
    counts: tuple[int, ...]
    """Tokens of each of these stretches, in order."""
    parts: tuple[Part, ...]
    """One; of a clip with its sound two."""
    planes: NDArray[np.int32] | None = None
    """[planes, run tokens]: rotary positions of all tokens of `text` expanded, each minus its
    anchor; None: one by one."""
    advance: int = 0
    """Positions from the run's first to what follows it; with `planes` alone."""
    anchors: NDArray[np.uint8] | None = None
    """[planes, run tokens]: what each entry of `planes` is counted from, as in `Decoded`; None: the
    run's first position."""
    number: str = ""
    """Goes before `text`, with `{n}`: how many items of the modality came before."""

    @property
    def rows(self) -> int:
        """Embeddings of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def tokens(self) -> int:
        """Of `text` expanded."""
        if self.planes is not None:
            return int(self.planes.shape[1])
        return max(self.advance, self.rows)


@dataclass(frozen=True)
class Rules:
    """What one processor class needs beyond the call that fits all others."""

    call: Options = field(default_factory=dict)
    """Further arguments of every call, of no modality."""
    number: str = ""
    """`ProcessedItem.number`."""
    number_kinds: tuple[Kind, ...] = ("image", "video", "audio")
    """Whose items are numbered."""
    siblings: Mapping[Modality, Modality] = field(default_factory=dict)
    """By kind of an item: it comes out otherwise where its prompt has another one of this kind.
    Beside one of its own kind its features do; beside one of another kind its embedding does, and
    its tower is told."""
    leave_padding: bool = True
    """Sounds are padded as the processor says. False: its model looks at what the mask shows alone,
    so that the shortest padding that changes no frame will do."""
    extractor: str = ""
    """The class that makes its sounds as its model takes them, whatever an older folder says."""
    pieces: bool = False
    """Its call takes no sounds: they are cut into pieces of one length, each of which has as many
    rows."""
    absolute_planes: bool = False
    """Some planes of an item's positions do not depend on where the item stands."""
    numbered: str = ""
    """`PlaceholderFacts.numbered`."""
    apart: bool = False
    """`PlaceholderFacts.apart`."""
    frame: Callable[[Any], Frame] = lambda tokenizer: Frame()
    """Of its tokenizer: `ModelFacts.frame`."""
