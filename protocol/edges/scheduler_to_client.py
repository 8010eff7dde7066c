"""scheduler -> client: refusals and ends without an answer."""

from ..wire import OfRequest
from .shared import RequestFailed


class MediaLost(OfRequest, frozen=True):
    """Embeddings and their features are gone: its client submits it under a higher attempt."""

    keys: tuple[str, ...]


SchedulerToClient = RequestFailed | MediaLost
