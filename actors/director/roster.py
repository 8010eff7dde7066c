"""The director's records: who has which role, who is ready, who was restarted. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ...protocol.edges.control import Peer, Peers, Share
from ...protocol.edges.view import Happening, Seen
from ...protocol.topology import CLIENT, kind_of
from .leases import Holder, Lease

HAPPENINGS = 64
"""Deaths and returns that are remembered."""

RoleState = Literal["starting", "ready", "gone"]
STARTING_LEASES = 4
"""Reading a large file may keep the interpreter's lock, and so the heartbeats, for that long."""


class RestartBudget:
    """At most `limit` restarts within `window` seconds."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit, self._window = limit, window
        self._spent: dict[int, float] = {}
        """When, by the epoch of who had died."""

    def spend(self, now: float, epoch: int) -> bool:
        """False where the budget is used up."""
        self._spent = {
            spent: when for spent, when in self._spent.items() if when > now - self._window
        }
        if len(self._spent) >= self._limit:
            return False
        self._spent[epoch] = now
        return True

    def give_back(self, epochs: Iterable[int]) -> None:
        """These deaths were not the role's own fault. Idempotent."""
        for epoch in epochs:
            self._spent.pop(epoch, None)


@dataclass
class Member:
    """One role that the director keeps alive."""

    role: str
    budget: RestartBudget
    epoch: int = 0
    """Of the incarnation that lives or is being made; 0 before the first."""
    pid: int | None = None
    """None while the zygote has not yet said it."""
    state: RoleState = "gone"
    lease: Lease = field(default_factory=lambda: Lease(0.0))
    """Of this incarnation."""
    identity: bytes | None = None
    """Of its link to the director; set when it has said Hello."""
    peer: Peer | None = None
    """Set when ready."""
    outside: bool = True
    """Its last death came from outside, or was asked for."""
    restarts: int = 0
    excused: bool = False
    """Its coming death was asked for and costs no budget."""
    silent: bool = False
    """Its lease has ended and it is being killed for it."""
    stopped: bool = False
    """It was found stopped by a signal then."""
    dragged: bool | None = None
    """It is being killed because another of its gang has ended; whether that was from outside."""
    due: bool = False
    """Its gang is made again when the last of it has been reaped."""
    put_off: bool = False
    """The log says already that the machine gives no process for it."""
    retired: bool = False
    """The role is not filled again."""
    fatal: str | None = None
    """What it said before it gave up."""
    drained: bool = False
    """As of a client."""

    def begin(self, now: float) -> int:
        """A new incarnation; returns its epoch."""
        self.epoch += 1
        self.state, self.lease = "starting", Lease(now)
        self.pid = self.identity = self.peer = None
        self.excused, self.fatal, self.silent, self.stopped = False, None, False, False
        self.drained, self.dragged = False, None
        return self.epoch

    def end(self) -> None:
        self.pid, self.state, self.peer = None, "gone", None


@dataclass
class ClientRecord:
    """A client that has joined: watched, never restarted."""

    epoch: int
    pid: int
    identity: bytes
    """Of its link to the director."""
    peer: Peer | None = None
    watch: int = -1
    """The watcher's handle on its process."""
    drained: bool = False
    """It has been asked to drain, and nothing of it is under way any more."""


@dataclass
class Roster:
    members: dict[str, Member]
    joined: dict[str, ClientRecord] = field(default_factory=dict)
    stats: dict[str, dict[str, float]] = field(default_factory=dict)
    """Each living process's last counters."""
    seen: dict[str, Seen] = field(default_factory=dict)
    """What each living process had in hand when that was last asked for."""
    happened: deque[Happening] = field(default_factory=lambda: deque(maxlen=HAPPENINGS))

    def forget(self, role: str) -> None:
        """What its dead process has told."""
        self.stats.pop(role, None)
        self.seen.pop(role, None)

    @property
    def ready(self) -> bool:
        return all(member.state == "ready" for member in self.members.values())

    def ready_ones(self, roles: Iterable[str] | None = None) -> list[Member]:
        """Of these roles, or of all."""
        members = self.members
        asked = members if roles is None else [role for role in roles if role in members]
        return [members[role] for role in asked if members[role].state == "ready"]

    @property
    def everyone(self) -> dict[str, Member | ClientRecord]:
        return {**self.members, **self.joined}

    @property
    def clients(self) -> dict[str, Member | ClientRecord]:
        """Who may submit requests: those that have joined, and the HTTP server once it has said
        Hello."""
        return {
            role: one
            for role, one in self.everyone.items()
            if kind_of(role) == CLIENT and one.pid is not None and one.identity is not None
        }

    def table(self) -> Peers:
        return Peers(
            {role: one.peer for role, one in self.everyone.items() if one.peer is not None}
        )

    def holders(self, lease: float, hello: float) -> list[Holder]:
        """Who must be heard of: within `lease` seconds, `STARTING_LEASES` of them while it loads,
        and `hello` seconds before it has said Hello."""

        def patience(member: Member) -> float:
            if member.identity is None:
                return hello
            return lease if member.state == "ready" else STARTING_LEASES * lease

        return [
            Holder(
                f"{member.role}.{member.epoch}",
                member.pid,
                member.lease,
                patience(member),
                member.identity is not None,
            )
            for member in self.members.values()
            if member.pid is not None
        ]


def split_share(whole: Share, clients: int) -> Share:
    """Equal parts of the admission for `clients` clients; never nothing."""
    count = max(1, clients)
    return Share(
        max(1, whole.requests // count),
        max(1, whole.tokens // count),
        max(1, whole.media_bytes // count),
    )
