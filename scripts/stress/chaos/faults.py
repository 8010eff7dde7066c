"""Which faults come in which order: drawn from a seed, spaced within the restart budget. Pure."""

import random
from collections import Counter, defaultdict, deque
from typing import Literal, NamedTuple

Kind = Literal[
    "kill", "pair", "chain", "stop", "full", "janitor", "memory", "signal", "starve", "files"
]

ROLES = (
    "fetcher",
    "decode-worker-0",
    "preprocessor",
    "encoder-cache",
    "scheduler",
    "gpu-runner",
    "detokenizer",
    "zygote",
)
ARENAS = ("fetcher", "decode-worker-0", "encoder-cache")
"""Who needs shared memory of its own."""
HUNGRY = ("decode-worker-0", "encoder-cache", "gpu-runner")
"""Who takes memory by the megabyte, so that a limit of the kernel's kills it at once."""
OPENERS = ("fetcher", "decode-worker-0", "encoder-cache", "preprocessor")
"""Who opens files while it works."""
HARMLESS: tuple[Kind, ...] = ("signal", "starve", "files")
"""Nobody may die of these."""
STARVE_SECONDS = 5.0
AGAIN = 0.2
"""Of the chains meet the successor of the one they killed first."""
KILLS, WINDOW = 4, 60.0
"""Of one role within so many seconds; the director gives up at 6."""


class Fault(NamedTuple):
    kind: Kind
    """kill: one; pair: two at once; chain: the second while the first recovers; stop: SIGSTOP, to
    be found by its lease; full: the successor of a killed process finds no shared memory for a
    while; janitor: it is killed, and then a role; memory: the kernel kills a process that wants
    more than its limit; signal: SIGTERM or SIGHUP to roles, as service managers and terminals send
    them to everybody; starve: others want the cores; files: no further file can be opened for a
    while."""
    roles: tuple[str, ...]
    """Who dies of it, in this order."""
    delay: float = 0.0
    """Seconds between the two of a chain, and between a janitor and a role; or for which others
    want the cores."""
    at: tuple[str, ...] = ()
    """Whom a harmless one concerns."""
    signal: Literal["SIGTERM", "SIGHUP"] = "SIGTERM"

    @property
    def harmless(self) -> bool:
        return self.kind in HARMLESS

    def __str__(self) -> str:
        between = f" +{self.delay * 1000:.0f} ms" if self.kind in ("chain", "janitor") else ""
        name = self.signal if self.kind == "signal" else self.kind
        return f"{name} {' '.join(self.roles or self.at)}{between}".rstrip()


def draw_round(
    draw: random.Random, http: bool, killed: Counter[str] | None = None, more: tuple[str, ...] = ()
) -> list[Fault]:
    """Each role killed once, the frontend twice, and one fault of every other kind (two signals),
    in any order.

    `http`: the frontend is one of the engine's. `killed`: how often each has been struck in earlier
    rounds; who was least is the second in a pair or chain. `more`: encode workers, which not every
    engine has.
    """
    actors = (*ROLES, *more)
    # twice, since the engine of `LLM` has none
    roles = (*actors, "http", "http") if http else actors
    order = sorted(draw.sample(actors, len(actors)), key=lambda role: (killed or Counter())[role])
    faults = [Fault("kill", (role,)) for role in roles]
    faults.append(Fault("pair", (order[1], order[0])))
    before = draw.choice([role for role in actors if role != "zygote"])  # nobody waits for a zygote
    second = before if draw.random() < AGAIN else order[2]
    faults.append(Fault("chain", (before, second), draw.uniform(0.0, 0.4)))
    faults.append(Fault("stop", (draw.choice([role for role in roles if role != "zygote"]),)))
    faults.append(Fault("full", (draw.choice((*ARENAS, *more)),)))
    faults.append(Fault("janitor", (order[3],), draw.uniform(0.0, 0.4)))
    faults.append(Fault("memory", (draw.choice((*HUNGRY, *more)),)))
    everybody = tuple(dict.fromkeys(roles))
    signals: tuple[Literal["SIGTERM", "SIGHUP"], ...] = ("SIGTERM", "SIGHUP")
    faults.append(Fault("signal", (), at=everybody, signal=draw.choice(signals)))
    faults.append(Fault("signal", (), at=(draw.choice(everybody),), signal=draw.choice(signals)))
    faults.append(Fault("starve", (), STARVE_SECONDS))
    faults.append(Fault("files", (), at=(draw.choice((*OPENERS, *more)),)))
    draw.shuffle(faults)
    return faults


def short_round(draw: random.Random, http: bool) -> list[Fault]:
    """For the test suite: one fault of every other kind, and who is in none of them killed alone;
    without `http`, two kills."""
    if not http:
        return [Fault("kill", ("gpu-runner",)), Fault("kill", ("scheduler",))]
    faults = [Fault("kill", (role,)) for role in ("fetcher", "preprocessor", "zygote")]
    faults += [
        Fault("memory", ("decode-worker-0",)),
        Fault("janitor", ("detokenizer",), 0.05),
        Fault("starve", (), 1.0),
    ]
    faults += [Fault("signal", (), at=(*ROLES, "http")), Fault("files", (), at=("fetcher",))]
    faults.append(Fault("pair", ("scheduler", "gpu-runner")))
    faults.append(Fault("chain", ("encoder-cache", "detokenizer"), 0.05))
    faults.append(Fault("stop", ("preprocessor",)))
    faults.append(Fault("full", ("encoder-cache",)))
    draw.shuffle(faults)
    return faults


class Pace:
    """Keeps the kills of each role within the restart budget, which is not what is tested."""

    def __init__(self) -> None:
        self._killed: defaultdict[str, deque[float]] = defaultdict(deque)

    def wait(self, fault: Fault, now: float) -> float:
        """Seconds until `fault` may come."""
        waits = [0.0]
        for role in set(fault.roles):
            killed = self._killed[role]
            allowed = KILLS - fault.roles.count(role)
            recent = [time for time in killed if time > now - WINDOW]
            if len(recent) > allowed:
                waits.append(recent[len(recent) - allowed - 1] + WINDOW - now)
        return max(waits)

    def note(self, fault: Fault, now: float) -> None:
        for role in fault.roles:
            self._killed[role].append(now)
            if len(self._killed[role]) > 2 * KILLS:
                self._killed[role].popleft()
