"""preprocessor -> client: the prepared prompt for the ledger, or why there is none."""

from ..requests.prepared import EffectiveOptions, ItemSource, Prepared, Timing
from ..requests.preview import ItemCost
from ..wire import Message, OfRequest
from .shared import MediaRead, RequestFailed


class PreparedCopy(Message, frozen=True):
    """The client's ledger keeps it: a resume starts here. It says what `MediaRead` says, too."""

    prepared: Prepared
    submitted_to: int = 0
    """Epoch of the scheduler that got it; 0, as of any attempt above 0: the client resumes it."""
    text: str | None = None
    """Of a conversation: the prompt as its template rendered it."""
    sources: tuple[ItemSource, ...] = ()
    """Of the request's media, in their order."""


class Tokenized(Message, frozen=True):
    id: str
    token_ids: tuple[int, ...]
    text: str
    """The rendered prompt."""


class Previewed(OfRequest, frozen=True):
    """What the request would cost: all that it asked for. Terminal; says what `MediaRead` says."""

    items: tuple[ItemCost, ...]
    prompt_tokens: int
    media_tokens: dict[str, int]
    media_options: EffectiveOptions
    timings: tuple[Timing, ...]


PreprocessorToClient = PreparedCopy | RequestFailed | MediaRead | Tokenized | Previewed
