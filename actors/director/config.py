"""What the director is told, and the table of which module plays which role."""

import msgspec

from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ...protocol.facts import ModelFacts
from ...protocol.topology import (
    DECODE_WORKER,
    DETOKENIZER,
    ENCODER_CACHE,
    FACTS,
    FETCHER,
    GPU_RUNNER,
    PREPROCESSOR,
    SCHEDULER,
    kind_of,
)

MODULES: dict[str, str] = {
    FACTS: "thespis.actors.facts.actor",
    FETCHER: "thespis.actors.fetcher.actor",
    PREPROCESSOR: "thespis.actors.preprocessor.actor",
    DECODE_WORKER: "thespis.actors.decode_worker.actor",
    ENCODER_CACHE: "thespis.actors.encoder_cache.actor",
    SCHEDULER: "thespis.actors.scheduler.actor",
    GPU_RUNNER: "thespis.actors.gpu_runner.actor",
    DETOKENIZER: "thespis.actors.detokenizer.actor",
}
"""By kind of role; each module has `main(launch: Launch) -> None`. The HTTP frontend's comes with
the configuration."""

FORKED = (FACTS, DECODE_WORKER, ENCODER_CACHE, GPU_RUNNER)
"""These need torch or transformers and are forked from the zygote, which has imported them once."""


class DirectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Comes as one line of JSON on the director's stdin, which then stays open for as long as the
    face wants the engine."""

    engine: EngineConfig
    server: ServerConfig | None = None
    """Given: the HTTP frontend is a child of the director, and the engine ends at SIGTERM, not with
    its last client."""
    modules: dict[str, str] = {}
    """Replaces entries of `MODULES`, by role or by kind, and names that of the HTTP frontend, where
    there is one."""
    forked: tuple[str, ...] | None = None
    """Kinds that the zygote forks; None: those of `FORKED` whose module was not replaced."""
    preload: tuple[str, ...] | None = None
    """What the zygote imports; None: what it forks."""
    facts: ModelFacts | None = None
    """What the model is, for who knows it already; None: a process of the engine finds it out."""
    python_path: tuple[str, ...] = ()
    """Goes before sys.path in every process of the engine."""
    face_pid: int | None = None
    """The process that started the engine: its death is the end of its hold."""
    keep: bool = False
    """Go on without any face, until SIGTERM."""

    def module_of(self, role: str) -> str:
        kind = kind_of(role)
        return self.modules.get(role) or self.modules.get(kind) or MODULES[kind]

    def is_forked(self, role: str) -> bool:
        kind = kind_of(role)
        if self.forked is not None:
            return kind in self.forked
        return kind in FORKED and self.module_of(role) == MODULES[kind]


class Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of JSON on the director's stdout, for the face that started it."""

    event: str
    """`ready`; `fatal` with the reason; `staying`: the face has let go, others still use the
    engine."""
    text: str = ""
