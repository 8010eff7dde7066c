"""What embeddings take of the store's space, and which of them may go. Pure."""

from collections.abc import Container, Mapping

from ...protocol.memory.blobs import block_bytes


class Space:
    def __init__(self, capacity: int, row_bytes: int) -> None:
        """Both in bytes."""
        self.capacity = capacity
        self._row_bytes = row_bytes
        self.used = 0
        self.spare: dict[str, int] = {}
        """Bytes by key of what nobody holds, the longest unused first."""
        self._spare_bytes = 0

    def nbytes(self, rows: int) -> int:
        return block_bytes(rows * self._row_bytes)

    def add_spare(self, key: str, nbytes: int) -> None:
        self.spare[key] = nbytes
        self._spare_bytes += nbytes

    def drop_spare(self, key: str) -> None:
        """Idempotent."""
        self._spare_bytes -= self.spare.pop(key, 0)

    def victims(self, wanted: Mapping[str, int], held: Container[str]) -> list[str] | None:
        """What must go for what is `wanted`, rows by key, and is not `held`. None: that is not
        enough."""
        missing = sum(self.nbytes(rows) for key, rows in wanted.items() if key not in held)
        own = sum(self.spare.get(key, 0) for key in wanted)
        excess = self.used + missing - self.capacity
        if excess > self._spare_bytes - own:
            return None
        gone: list[str] = []
        for key, nbytes in self.spare.items():
            if excess <= 0:
                break
            if key not in wanted:
                gone.append(key)
                excess -= nbytes
        return gone
