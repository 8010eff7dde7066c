"""The watch over one engine: a snapshot as often as somebody wants one, made of the director's
answer and of this server's requests."""

import logging
import time

import msgspec

from ....protocol.config.roles import HttpConfig
from ....protocol.edges.control import Live
from ....protocol.edges.detokenizer_to_client import Finished
from ....protocol.errors import EngineError, Failure
from ...client.client import Client
from ...client.ledger import LedgerEntry
from ..gate.auth import Keys
from .picture import Own, Picture
from .sampling import Sampling

log = logging.getLogger(__name__)


class Watch:
    """Hears of the client's requests while somebody watches, and remembers nothing else."""

    def __init__(self, client: Client, config: HttpConfig, keys: Keys) -> None:
        self._client, self._config, self.keys = client, config, keys
        self._picture: Picture | None = None
        """While somebody watches."""
        self.sampling = Sampling(self._look, self._watched)

    # as an observer of the client

    def ended(self, entry: LedgerEntry, outcome: Finished | Failure) -> None:
        if self._picture is not None:
            self._picture.end(entry, outcome, time.monotonic())

    def changed(self) -> None:
        self.sampling.hurry()

    # as a source of snapshots

    def _watched(self, begins: bool) -> None:
        self._client.observe(self if begins else None)
        zero = time.time() - time.monotonic()
        self._picture = Picture(self._config, zero, self.keys.number) if begins else None

    async def _look(self) -> tuple[bytes, bool]:
        live: Live | None = None
        try:
            live = await self._client.live()
        except EngineError:
            log.warning("the engine does not say how it is")
        picture, admission = self._picture, self._client.admission
        assert picture is not None, "a sampling ends before the picture is dropped"
        own = Own(self._client.under_way(), admission.taken, admission.share, self._client.draining)
        snapshot = picture.draw(live, own, time.monotonic())
        return b"data: " + msgspec.json.encode(snapshot) + b"\n\n", picture.unsettled
