"""Between director and processes, and `End` from clients to actors: never waits behind data."""

from typing import Literal

import msgspec

from ..facts import ModelFacts
from ..wire import Message, Record
from .view import Happening, Incarnation, Seen

Cache = Literal["media", "prefix"]
"""What can be emptied: features and embeddings of media; the KV of prompts' beginnings."""

# process -> director


class FromProcess(Message, frozen=True):
    """From one incarnation, or about one."""

    role: str
    epoch: int

    @property
    def incarnation(self) -> str:
        """Named as in `Request.client`, and as the writer of its segments."""
        return f"{self.role}.{self.epoch}"


class Hello(FromProcess, frozen=True):
    """The first message of every process. A wrong `version` is refused with both versions named."""

    pid: int
    version: int


class Ready(FromProcess, frozen=True):
    """The process has bound its sockets and can work."""

    inbox: str
    """Endpoint of its data ROUTER."""
    control: str
    """Endpoint of its control ROUTER; "" for clients that join: nobody tells them of ended
    requests."""
    notes: dict[str, int] = msgspec.field(default_factory=dict)
    """What others need to know of it: the GPU runner's `Room`."""


class Heartbeat(FromProcess, frozen=True):
    """Sent by a thread of its own, so that a long step or import is not a death."""


class Stats(FromProcess, frozen=True):
    """Counters of one process since its start, for /metrics, tests and the live page."""

    counters: dict[str, float]
    seen: Seen | None = None
    """Where it was asked for."""


class Fatal(FromProcess, frozen=True):
    """The process cannot start; `text` is written for the person who started the engine."""

    text: str


class Facts(FromProcess, frozen=True):
    """facts -> director: what the model is. The process ends with it."""

    model: ModelFacts
    gpu_bytes: int | None = None
    """Memory of the GPU that will hold the model; None: it will be on the CPU."""


class Leave(FromProcess, frozen=True):
    """A client leaves of its own accord."""


class AskStatus(Message, frozen=True):
    """Answered with `Status`."""


class AskLive(Message, frozen=True):
    """client -> director, while somebody watches. Answered with `Live` of the same number."""

    number: int


class AskReset(Message, frozen=True):
    """client -> director: have this cache emptied. Answered with `ResetOver` of the same number."""

    number: int
    cache: Cache


class ResetDone(FromProcess, frozen=True):
    """The answer to `Reset`: no request from now on finds what was kept before."""

    number: int


class Excuse(Message, frozen=True):
    """These incarnations died of work that is not tried again: their restarts cost nothing."""

    role: str
    epochs: tuple[int, ...]


class Kill(FromProcess, frozen=True):
    """This decode worker overran a limit; kill, reap, replace it. Costs no restart budget."""


class Drained(FromProcess, frozen=True):
    """A client's answer to `Drain`, when nothing of what it had is under way any more."""


class Stalled(FromProcess, frozen=True):
    """This incarnation no longer reads its messages: the edge to it is full, and closed; or it says
    so itself, since a handler does not return. It is ended like a silent one."""


ToDirector = (
    Hello
    | Ready
    | Heartbeat
    | Stats
    | Fatal
    | Facts
    | Leave
    | AskStatus
    | AskLive
    | AskReset
    | ResetDone
    | Kill
    | Excuse
    | Drained
    | Stalled
)


# director -> process


class Peer(Record, frozen=True):
    epoch: int
    pid: int
    inbox: str
    control: str
    notes: dict[str, int] = msgspec.field(default_factory=dict)
    """Its `Ready.notes`."""


class Welcome(Message, frozen=True):
    """The answer to Hello: this process's part of the configuration, JSON, and of admission."""

    config: bytes
    share: "Share | None" = None


class Share(Record, frozen=True):
    """How much a client may have in the pipeline at once."""

    requests: int
    tokens: int
    media_bytes: int


class Refused(Message, frozen=True):
    text: str


class Peers(Message, frozen=True):
    """Who is ready, by role: the whole table at each change, clients among them."""

    peers: dict[str, Peer]


class Gone(FromProcess, frozen=True):
    """A process has ended and been reaped: all its leases end, all its messages are void."""

    outside: bool = False
    """It was killed from outside the engine, as far as can be seen: no work in hand is to blame."""


class Reshare(Message, frozen=True):
    """Clients came or went: this client's new share."""

    share: Share


class AskStats(Message, frozen=True):
    """Answered with `Stats`."""

    seen: bool = False
    """With what it has in hand."""


class Reset(Message, frozen=True):
    """Empty this cache, as far as it lies here. Answered with `ResetDone`. Who comes later, and
    names what is kept, is told of the last one."""

    number: int
    """Higher than of any before."""
    cache: Cache


class ResetOver(Message, frozen=True):
    """The answer to `AskReset`."""

    number: int
    done: bool
    """False: some actor that has a part of the cache has not answered in time."""


class Drain(Message, frozen=True):
    """To clients: submit nothing new. Answered with `Drained`, perhaps much later."""


class Stop(Message, frozen=True):
    """Shut down."""


class Status(Message, frozen=True):
    ready: bool
    roles: dict[str, str]
    """State per role: starting, ready, gone."""
    stats: dict[str, dict[str, float]]
    pids: dict[str, int]
    restarts: dict[str, int]
    fatal: str | None = None
    """Why nobody is served any more, once that is so."""
    gave_up: bool = False
    """The reason is a fault; else the engine was told to end."""


class Live(Message, frozen=True):
    """The answer to `AskLive`. What comes by role is of those that have told it."""

    number: int
    ready: bool
    roles: dict[str, Incarnation]
    stats: dict[str, dict[str, float]]
    seen: dict[str, Seen]
    happened: tuple[Happening, ...]
    """The last ones, the oldest first."""


# client -> actor, on the actor's control socket


class End(Message, frozen=True):
    """These are over for their client, however: drop their state, keep a tombstone."""

    ids: tuple[str, ...]


ToControl = End


FromDirector = (
    Welcome
    | Refused
    | Peers
    | Gone
    | Reshare
    | AskStats
    | Reset
    | ResetOver
    | Drain
    | Stop
    | Status
    | Live
)
