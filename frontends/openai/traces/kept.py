"""The calls that ended last, for those who ask. Pure."""

from collections import OrderedDict

from .call import EndedCall

MOST_CALLS = 1024
MOST_WEIGHT = 1 << 16
"""Timings and items of all calls together; some 10 MB."""


class Kept:
    """Each under its tenant and its id: nobody finds another's."""

    def __init__(self, calls: int = MOST_CALLS, weight: int = MOST_WEIGHT) -> None:
        self._most, self._heaviest = calls, weight
        self._calls: OrderedDict[tuple[str, str], EndedCall] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: EndedCall) -> None:
        """The oldest give way."""
        self._drop(self._calls.pop((call.tenant, call.id), None))
        self._calls[call.tenant, call.id] = call
        self._weight += call.weight
        while len(self._calls) > self._most or self._weight > self._heaviest:
            self._drop(self._calls.popitem(last=False)[1])

    def get(self, tenant: str, id: str) -> EndedCall | None:
        return self._calls.get((tenant, id))

    def _drop(self, call: EndedCall | None) -> None:
        self._weight -= 0 if call is None else call.weight
