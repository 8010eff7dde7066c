"""What the director is told, and the table of which module plays which role."""

import msgspec

from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ...protocol.facts import ModelFacts
from ...protocol.topology import (
    DECODE_WORKER,
    DETOKENIZER,
    ENCODE_WORKER,
    ENCODER_CACHE,
    FACTS,
    FETCHER,
    GPU_RUNNER,
    PREPROCESSOR,
    RANK,
    SCHEDULER,
    kind_of,
)

FORKED = (FACTS, DECODE_WORKER, ENCODER_CACHE, ENCODE_WORKER, GPU_RUNNER, RANK)
"""These need torch or transformers and are forked from the zygote, which has imported them once."""

MODULES = {
    kind: f"thespis.actors.{kind.replace('-', '_')}.actor"
    for kind in (*FORKED, FETCHER, PREPROCESSOR, SCHEDULER, DETOKENIZER)
}
MODULES[RANK] = MODULES[GPU_RUNNER]
"""By kind of role; each module has `main(launch: Launch) -> None`."""

RUNTIME = "thespis.gpu_runtime"
"""Comes before whatever imports transformers: it leaves out what of that nobody uses."""


class Cast(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who plays the roles, where it is not as shipped: fakes in tests, profilers around actors."""

    modules: dict[str, str] = {}
    """Replaces entries of `MODULES`, by role or by kind."""
    forked: tuple[str, ...] | None = None
    """Kinds that the zygote forks; None: those of `FORKED` whose module was not replaced."""
    preload: tuple[str, ...] | None = None
    """What the zygote imports; None: what it forks."""
    facts: ModelFacts | None = None
    """What the model is, for who knows it already; None: a process of the engine finds it out."""
    python_path: tuple[str, ...] = ()
    """Goes before sys.path in every process of the engine."""

    def module_of(self, role: str) -> str:
        kind = kind_of(role)
        return self.modules.get(role) or self.modules.get(kind) or MODULES[kind]

    def is_forked(self, role: str) -> bool:
        kind = kind_of(role)
        if self.forked is not None:
            return kind in self.forked
        return kind in FORKED and self.module_of(role) == MODULES[kind]

    def imports(self) -> list[str]:
        """Modules for the zygote, heaviest first: those of all that it forks, which share what they
        need. []: no zygote is needed."""
        if self.preload is not None:
            return list(self.preload)
        forked = [
            kind
            for kind in FORKED
            if self.is_forked(kind)
            and kind not in (RANK, ENCODE_WORKER)  # which need what others of these import
            and (kind != FACTS or self.facts is None)
        ]
        return ["torch", RUNTIME, *(MODULES[kind] for kind in forked)] if forked else []


class DirectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Comes as one line of JSON on the director's stdin, which then stays open for as long as the
    face wants the engine."""

    engine: EngineConfig
    server: ServerConfig | None = None
    """Given: the HTTP frontend is a child of the director, and the engine ends at SIGTERM, not with
    its last client."""
    cast: Cast = Cast()
    """It names the module of the HTTP frontend, where there is one."""
    face_pid: int | None = None
    """The process that started the engine: its death is the end of its hold."""


class Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of JSON on the director's stdout, for the face that started it."""

    event: str
    """`ready`; `fatal` with the reason; `staying`: others still use the engine that was let go."""
    text: str = ""
