"""decode worker -> preprocessor: features of one item, or why there are none."""

from ..errors import Failure
from ..memory.blobs import BlobRef
from ..requests.guide import Guide
from ..requests.prepared import Timing
from ..requests.preview import ItemLook
from ..requests.request import Modality
from ..wire import Message, Record

RUN, NOTHING, ORDINAL = 0, 1, 2
"""What a rotary position is counted from: where its item begins, nothing (it stands as it is), how
many items of the modality came before."""


class Part(Record, frozen=True):
    """What one encoder makes of an item; of a clip with its own sound there are two."""

    key: str
    """The identity of the embedding."""
    kind: Modality
    """Whose encoder takes it: some models see a clip as a row of pictures."""
    rows: int
    tensors: dict[str, BlobRef]
    """In the worker's arena until `FreeFeatures`; by the names that the encoder takes them by."""
    embed_token_id: int
    """What stands for one row in the prompt."""


class Decoded(Message, frozen=True):
    job: int
    digest: str
    """Of the content as it came in, hex."""
    key: str
    """`digest` with every option that changes features or positions: the identity of the item."""
    parts: tuple[Part, ...]
    text: str
    """What replaces the item's placeholder in a text; each run of rows is one token in it."""
    counts: tuple[int, ...]
    """Rows of each of these runs."""
    number: str
    """Before `text`, where items are numbered: `{n}` is how many of its modality came before."""
    planes: bytes | None
    """Rotary positions of the tokens of `text` with all rows, int32 little endian [planes, tokens];
    None: they count one by one like text."""
    anchors: bytes | None
    """uint8, as `planes`: RUN, NOTHING or ORDINAL of each; None: all RUN."""
    advance: int
    """Positions from the first of these tokens to what follows them."""
    tokens: int
    """Of `text` with all rows."""
    look: ItemLook
    timings: tuple[Timing, ...]

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(part.rows for part in self.parts)


class PageFound(Record, frozen=True):
    """A page that is wanted."""

    number: int
    width: int
    height: int
    """Of its picture, in pixels."""
    layout: int
    """Which of `DocumentRead.layouts` its picture has."""


class DocumentRead(Message, frozen=True):
    """The document is a PDF with these pages, or nothing but a text."""

    job: int
    digest: str
    """Of its bytes, hex."""
    pages: tuple[PageFound, ...]
    layouts: tuple[Decoded, ...]
    """Of pictures of one size each, without features; keys are those of no item."""
    text: str | None = None
    """Of a file of plain text."""


class TextRead(Message, frozen=True):
    job: int
    texts: tuple[str, ...]


class DecodeFailed(Message, frozen=True):
    job: int
    failure: Failure


class GuideChecked(Message, frozen=True):
    """The guide can be built; why not, is a `DecodeFailed`."""

    job: int
    guide: Guide
    """As the runner wants it: a GBNF grammar has become Lark."""


class ChatRendered(Message, frozen=True):
    """Why there is none, is a `DecodeFailed`."""

    job: int
    token_ids: list[int] | None
    """None: it is a text whose items go into it before it is tokenised."""
    text: str
    """The caller's words that spell control tokens are marked."""
    order: dict[Modality, list[int]]
    """Per modality the indices of the request's items, in the order of the placeholders."""
    framed: bool
    """It gets the tokenizer's own beginning and end."""


DecodeWorkerToPreprocessor = (
    Decoded | DecodeFailed | GuideChecked | ChatRendered | DocumentRead | TextRead
)
