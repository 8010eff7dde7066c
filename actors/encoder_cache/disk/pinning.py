"""Why something cannot be pinned, in words for whoever has asked."""

from ....protocol.errors import Failure
from ....protocol.refusals import NOT_KEPT

BUSY = Failure(
    "unavailable", "The folder cannot be written to now; try again later.", "pin", "pin_busy"
)
_REFUSED = {
    "missing": NOT_KEPT,
    "own": Failure(
        "too_large",
        "With it you would pin more than one may: unpin or delete some first.",
        "pin",
        "too_much_pinned",
    ),
    "all": Failure(
        "unavailable",
        "As much is pinned here as may be; try again later.",
        "pin",
        "pins_full",
    ),
}


def worded(outcome: str) -> Failure | None:
    """Of what `Folder.pin` says."""
    return _REFUSED.get(outcome)
