"""decode worker -> preprocessor: features of one item, or why there are none."""

from ..blobs import BlobRef
from ..errors import Failure
from ..guide import Guide
from ..prepared import Timing
from ..request import Modality
from ..wire import Message


class Decoded(Message, frozen=True):
    job: int
    digest: str
    """Of the content as it came in, hex."""
    key: str
    """`digest` with every option that changes features or positions: the identity of the embedding."""
    rows: int
    tensors: dict[str, BlobRef]
    """In the worker's arena until `FreeFeatures`; names as the family's encoder expects them."""
    grid: tuple[int, int, int] | None
    """(t, h, w) in patches, where the family has one."""
    seconds_per_grid: float
    """Of a clip: seconds between two temporal patches."""
    timings: tuple[Timing, ...]


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
    token_ids: list[int]
    text: str
    order: dict[Modality, list[int]]
    """Per modality the indices of the request's items, in the order of the placeholders."""


DecodeWorkerToPreprocessor = Decoded | DecodeFailed | GuideChecked | ChatRendered
