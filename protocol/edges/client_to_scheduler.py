"""client -> scheduler: resumes and acknowledgements."""

from ..requests.prepared import Prepared
from ..wire import Message, Record


class ChoiceSoFar(Record, frozen=True):
    """What the client already has of one choice."""

    token_ids: tuple[int, ...]
    released: int
    """Characters given to the caller."""
    ended: bool


class Resume(Message, frozen=True):
    """Go on with a request that an actor's death interrupted. Prompt and output stay apart:
    positions and spans come from the prompt, sampler and stop state are replayed from the
    output."""

    prepared: Prepared
    choices: tuple[ChoiceSoFar, ...]


class Ack(Message, frozen=True):
    """The terminal messages of these requests have arrived; what was kept for a replay may go."""

    ids: tuple[str, ...]


ClientToScheduler = Resume | Ack
