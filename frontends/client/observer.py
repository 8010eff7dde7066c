"""Who watches a client's requests from beside, without a part in what becomes of them."""

from typing import Protocol

from ...protocol.edges.detokenizer_to_client import Finished
from ...protocol.errors import Failure
from .ledger import LedgerEntry


class Observer(Protocol):
    """Called in the client's loop, within what it does: both return at once."""

    def ended(self, entry: LedgerEntry, outcome: Finished | Failure) -> None:
        """A request is over."""

    def changed(self) -> None:
        """A process has died or is ready again."""
