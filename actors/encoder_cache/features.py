"""Features that wait to be encoded, and the leases on them. Pure."""

from collections.abc import Callable, Iterable

from ...protocol.edges.preprocessor_to_encoder_cache import Features


class FeatureBooks:
    """Features by key, oldest first. Each `Features` message is one lease, given back once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: dict[str, list[Features]] = {}
        """The leases on one key; the last is read."""
        self.bytes_used = 0

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __len__(self) -> int:
        return len(self._records)

    @property
    def over(self) -> bool:
        return self.bytes_used > self._limit

    def get(self, key: str) -> Features:
        return self._records[key][-1]

    def holds(self, features: Features) -> bool:
        """This very lease: another's bytes lie elsewhere."""
        return any(held is features for held in self._records.get(features.key, ()))

    def put(self, features: Features) -> None:
        self._records.setdefault(features.key, []).append(features)
        self.bytes_used += _nbytes(features)

    def give_back(self, key: str) -> tuple[str, ...]:
        """Drop a key; one entry per lease, for `FeaturesRead`."""
        leases = self._records.pop(key, [])
        self.bytes_used -= sum(map(_nbytes, leases))
        return (key,) * len(leases)

    def shrink(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Give back the oldest that nobody has asked for, until the rest is within the limit."""
        keep = set(wanted)
        read: list[str] = []
        for key in [key for key in self._records if key not in keep]:
            if not self.over:
                break
            read.extend(self.give_back(key))
        return tuple(read)

    def drop(self, which: Callable[[Features], bool]) -> tuple[list[str], tuple[str, ...]]:
        """Forget some leases: the keys of which nothing is left, and the leases that end."""
        empty: list[str] = []
        read: list[str] = []
        for key, leases in list(self._records.items()):
            alive = [features for features in leases if not which(features)]
            read.extend([key] * (len(leases) - len(alive)))
            self.bytes_used -= sum(map(_nbytes, leases)) - sum(map(_nbytes, alive))
            if alive:
                self._records[key] = alive
            else:
                del self._records[key]
                empty.append(key)
        return empty, tuple(read)

    def clear(self) -> None:
        self._records.clear()
        self.bytes_used = 0


def _nbytes(features: Features) -> int:
    return sum(ref.nbytes for ref in features.tensors.values())
