"""What the shell keeps of one request until it is submitted or refused."""

from dataclasses import dataclass, field

from ...protocol.edges.decode_worker_to_preprocessor import Decoded, DocumentRead
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.guide import Guide
from ...protocol.requests.prepared import ItemSource, Timing
from ...protocol.requests.request import ChatPrompt, MediaItem, Request
from ...protocol.requests.sampling import SamplingParams
from ..jobs.identity import ItemOptions, blob_of
from ..prompting.prompt import Rendered
from .store import FeatureEntry

UNRENDERED = Rendered([], "", {})


@dataclass(eq=False)
class Document:
    """What is known of one so far."""

    found: DocumentRead | None = None
    texts: dict[int, str] = field(default_factory=dict)
    """By number of the page."""
    missing: int = 0
    """Pieces of its text that are not there."""


@dataclass(frozen=True)
class PagePlan:
    """How a page becomes features, when it is asked for."""

    index: int
    """Of its picture among the request's media."""
    digest: str
    key: str
    options: ItemOptions
    name: str = ""
    """On disk; empty: it is not kept there."""


@dataclass(eq=False)
class PendingRequest:
    """`entries[i]` holds a pin on what `request.media[i]` became; None while it is awaited."""

    request: Request
    fetched: bool
    """Its bytes are the fetcher's, who wants them back."""
    rendered: Rendered
    timings: list[Timing]
    sampling: SamplingParams
    """The request's, with words and guide as the runner wants them."""
    digests: list[str | None] = field(default_factory=list)
    entries: list[FeatureEntry | None] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    """By index the identity of what is kept on disk: that of the item, whatever has been reset."""
    unknown: set[int] = field(default_factory=set)
    """Indices of items that the encoder-cache does not know."""
    kept: set[int] = field(default_factory=set)
    """Indices of items that had been decoded before."""
    bound: list[str] = field(default_factory=list)
    """Ids that were bound for it: if it fails, they are free again."""
    unchecked: bool = False
    """A worker is looking at its guide."""
    unrendered: bool = False
    """A worker is rendering its conversation; `rendered` means nothing yet."""
    question: bool = False
    """Only the tokens of its prompt are wanted."""
    documents: dict[int, Document] = field(default_factory=dict)
    """By index, until pictures of their pages stand in their places."""
    pages: dict[int, Decoded] = field(default_factory=dict)
    """By index: what is known of such a picture, which is drawn when its features are asked for."""
    page_digests: dict[int, str] = field(default_factory=dict)
    plans: list[PagePlan] = field(default_factory=list)
    """Of all of them."""
    feed: "Feed | None" = None
    """Of which it is a page, where it is no request of its own."""
    over: bool = False
    """Answered or ended; what still comes for it is dropped."""

    @property
    def blobs(self) -> list[BlobRef]:
        """The bytes of its media."""
        sources = [item.source for item in self.request.media if item.source is not None]
        return list(dict.fromkeys(map(blob_of, sources)))

    @property
    def unread(self) -> bool:
        """It is not known what its documents hold."""
        return any(one.found is None or one.missing for one in self.documents.values())

    @property
    def complete(self) -> bool:
        return bool(self.digests or not self.request.media) and self.served

    @property
    def served(self) -> bool:
        """It waits for no task now; all that it will want need not have been asked for."""
        waits = self.unchecked or self.unrendered or self.unread
        return not (waits or None in self.entries)

    @property
    def held(self) -> list[FeatureEntry]:
        """Of a complete request: its entries."""
        return [entry for entry in self.entries if entry is not None]

    def sources(self) -> tuple[ItemSource, ...]:
        """Of a complete request."""
        return tuple(
            ItemSource(
                item.where,
                item.modality,
                tuple(part.key for part in entry.decoded.parts),
                0 if item.source is None else blob_of(item.source).nbytes,
                index in self.kept,
                self.names.get(index, ""),
            )
            for index, (item, entry) in enumerate(zip(self.request.media, self.held, strict=True))
        )

    def take(self, index: int, entry: FeatureEntry) -> None:
        """Pin what item `index` became."""
        entry.pins += 1
        entry.name = entry.name or self.names.get(index, "")
        self.entries[index] = entry

    def take_guide(self, guide: Guide) -> None:
        self.unchecked = False
        self.sampling = self.sampling.replace(structured_outputs=guide)


@dataclass(eq=False)
class Feed:
    """The pages of one request, from its submission to its end."""

    request: Request
    fetched: bool
    """Its bytes are the fetcher's, who wants them back."""
    plans: dict[str, PagePlan]
    """By key of each embedding that becomes of a page."""
    making: dict[str, PendingRequest] = field(default_factory=dict)
    """By key of a page: those that are being made."""

    @property
    def blobs(self) -> list[BlobRef]:
        sources = (item.source for item in self.request.media if item.source is not None)
        return list(dict.fromkeys(map(blob_of, sources)))


@dataclass(frozen=True, eq=False)
class Waiter:
    """A request's item that a task will bring; no index: the verdict on its guide, or its text."""

    pending: PendingRequest
    index: int | None

    @property
    def item(self) -> MediaItem | None:
        return None if self.index is None else self.pending.request.media[self.index]

    def part(self, is_guide: bool) -> str | None:
        """What the caller calls that which it waits for; a conversation has no name."""
        guide = self.pending.sampling.guide if is_guide else None
        item = self.item
        return guide.part if guide else item.where if item else None


def brings_template(request: Request) -> bool:
    """It brings a program of its own, which does not run here."""
    return isinstance(request.prompt, ChatPrompt) and request.prompt.template is not None
