"""Which body an HTTP server was reading when it ended: known to its successors, and judged as by
every other record of blame. It reads small bodies itself, one at a time, so that the one in hand
was alone. After one such death its tenant's bodies are read by readers, for as long as it is
remembered: whoever ends the server does it once. After a second death with the same body, or when
it has ended its readers, that body is refused."""

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ...actors.quarantine.records import KEPT_SECONDS, POISON, Banned, Quarantine
from ...protocol.errors import RequestError
from ...protocol.topology import HTTP

DIGEST_BYTES = 16
"""Of a body; a longer one would be cut in the record, and be another body's."""
_HAND = struct.Struct(f"=Q{DIGEST_BYTES}s32s")
"""Epoch (0: nothing is in hand), body, tenant."""
MAX_DEATHS = 64


class Death(msgspec.Struct, frozen=True):
    """Of one incarnation, by its own doing, with one body in hand."""

    epoch: int
    body: str
    """Digest."""
    tenant: str
    when: float
    """Seconds by the monotonic clock, which all processes of the machine share."""


class Record(msgspec.Struct):
    """What is kept for the next incarnation."""

    deaths: list[Death] = []
    banned: dict[str, float] = {}
    """Since when each body is refused."""


class Blame:
    """`excuse` is told the epochs whose deaths have been explained, `keep` the changed record."""

    def __init__(
        self,
        hand: "bytearray | mmap.mmap",
        epoch: int = 1,
        outside: bool = True,
        record: Record | None = None,
        now: float = 0.0,
        excuse: Callable[[tuple[int, ...]], None] = lambda epochs: None,
        keep: Callable[[Record], None] = lambda record: None,
    ) -> None:
        """`hand` is as the predecessor left it; `outside`: it was killed from outside."""
        self._hand, self._epoch, self._excuse, self._keep = hand, epoch, excuse, keep
        self._record = record or Record()
        died, body, tenant = _HAND.unpack_from(hand)
        _HAND.pack_into(hand, 0, 0, b"", b"")
        self._record.deaths = [one for one in self._record.deaths if one.when > now - KEPT_SECONDS][
            -MAX_DEATHS:
        ]
        self._banned = Banned()
        for name, since in self._record.banned.items():
            self._banned.add(name, since)
        if died and not outside:
            self._record.deaths.append(
                Death(died, body.hex(), tenant.decode(errors="replace").rstrip("\0"), now)
            )
            self._judge(body.hex(), now)
            keep(self._record)

    @classmethod
    def alone(cls) -> "Blame":
        """Of a server without successors."""
        return cls(bytearray(_HAND.size))

    def _judge(self, body: str, now: float) -> None:
        quarantine = Quarantine()
        for death in self._record.deaths:
            if (
                death.body == body
                and quarantine.died(death.epoch, (body,), outside=False) is not None
            ):
                self.convict(body, now)

    def convict(self, body: str, now: float) -> None:
        """It is proved to end whoever reads it."""
        self._banned.add(body, now)
        self._record.banned = {
            name: since
            for name, since in self._record.banned.items()
            if self._banned.holds(name, now)
        }
        self._record.banned[body] = now
        if epochs := tuple(death.epoch for death in self._record.deaths if death.body == body):
            self._excuse(epochs)
        self._keep(self._record)

    def refuse(self, body: str, now: float) -> None:
        """Raises RequestError for one that was convicted."""
        if self._banned.holds(body, now):
            raise RequestError(POISON)

    def suspects(self, tenant: str, now: float) -> bool:
        """Whether a body of this tenant may have ended a server of late."""
        return any(
            death.tenant == tenant and death.when > now - KEPT_SECONDS
            for death in self._record.deaths
        )

    @contextmanager
    def in_hand(self, body: str, tenant: str) -> Iterator[None]:
        """Held while the interpreter is at this body alone: no `await` in it."""
        digest = bytes.fromhex(body)
        assert len(digest) == DIGEST_BYTES
        _HAND.pack_into(self._hand, 0, self._epoch, digest, tenant.encode())
        try:
            yield
        finally:
            _HAND.pack_into(self._hand, 0, 0, b"", b"")


def open_blame(
    run_dir: Path, epoch: int, outside: bool, now: float, excuse: Callable[[tuple[int, ...]], None]
) -> Blame:
    """The record lies in the run directory, what is in hand in memory that outlives us. OSError."""
    fd = os.open(run_dir / f"{HTTP}.hand", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _HAND.size)
        hand = mmap.mmap(fd, _HAND.size)
    finally:
        os.close(fd)
    path = run_dir / f"{HTTP}.blame"
    record = Record()
    with suppress(OSError, msgspec.DecodeError):  # there is none yet, or its writer died over it
        record = msgspec.msgpack.decode(path.read_bytes(), type=Record)

    def keep(record: Record) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.msgpack.encode(record))
        new.rename(path)

    return Blame(hand, epoch, outside, record, now, excuse, keep)
