"""Consistent hashing with several probes: of a key all who ask, wherever, see the same replicas in
the same order, and of a replica that goes only its own keys move. Pure."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterable

PROBES = 21
"""Places of a key on the ring: with so many, a replica has some 5 % more than the mean at most."""
FEW = 8
"""Replicas of a key."""
_SIZE = 1 << 64


class Ring:
    """Replicas at places that their names say. To ask costs `PROBES` binary searches."""

    def __init__(self) -> None:
        self._places: list[tuple[int, str]] = []

    def join(self, name: str) -> None:
        insort(self._places, (_places_of(name)[0], name))

    def leave(self, name: str) -> None:
        self._places.remove((_places_of(name)[0], name))

    def of(self, key: str) -> Iterable[str]:
        """Those behind the places of a key, the nearest first."""
        places, nearest = self._places, []
        if not places:
            return ()
        place, step = _places_of(key)
        for _ in range(PROBES):
            at = bisect_left(places, (place,))
            behind, name = places[at] if at < len(places) else places[0]
            nearest.append(((behind - place) % _SIZE, name))
            place = (place + step) % _SIZE
        return list(dict.fromkeys(name for _, name in sorted(nearest)))[:FEW]


def _places_of(text: str) -> tuple[int, int]:
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8]), int.from_bytes(digest[8:]) | 1
