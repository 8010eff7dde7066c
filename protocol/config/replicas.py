"""How many engines answer at one address."""

import msgspec


class ReplicasConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Raises ValueError that names the field."""

    replicas: int | None = None
    """whole engines behind one address, by Ray; needs thespis[ray] (default: one, without Ray)"""
    max_replicas: int | None = None
    """so many of them where much is asked (default: always --replicas)"""

    def __post_init__(self) -> None:
        if self.replicas is not None and self.replicas < 1:
            raise ValueError(f"replicas must be at least 1, got {self.replicas}.")
        if self.max_replicas is not None and self.max_replicas < self.least:
            raise ValueError(
                f"max_replicas must be at least replicas, {self.least}, got {self.max_replicas}."
            )

    @property
    def least(self) -> int:
        return 1 if self.replicas is None else self.replicas

    @property
    def wanted(self) -> bool:
        """Whether Ray is to run the engines, be it one."""
        return self.replicas is not None or self.max_replicas is not None
