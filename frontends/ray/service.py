"""A service of replicas as Ray Serve runs it: `build`, which Serve's configuration files name, and
what it puts together. Ray is imported when it is called."""

import math
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from ...protocol.config.engine import EngineConfig, configure
from ...protocol.config.server import ServerConfig
from ...protocol.config.server_keys import with_keys
from .door import DoorConfig, RayDoor
from .edge import AnswerPiece
from .installed import check_installed
from .replica import END_SECONDS, ReplicaConfig, ServedReplica

ROUTER = "thespis.frontends.ray.router:AffinityRouter"
ENGINE, DOOR = "thespis-engine", "thespis-door"
"""Names of the deployments."""
HEALTH_SECONDS = 2.0
"""Between questions whether an engine is there."""
TOLD_SECONDS = 10.0
"""Between words of a door on the requests that it has, which decide how many replicas there are."""
DOOR_CALLS = 1 << 14
"""Calls that one door may have under way; the bound that callers meet is the engines'."""


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`args` of an application in Serve's configuration file. Raises ValueError naming the
    field."""

    engine: dict[str, Any] = {}
    """Flags of `thespis serve` that are the engine's, `model` among them."""
    server: dict[str, Any] = {}
    """Those of its server."""
    replicas: int = 1
    max_replicas: int | None = None
    """So many where much is asked; None: always `replicas`."""
    upscale_delay_s: float = 30.0
    """So long more are wanted before one comes..."""
    downscale_delay_s: float = 600.0
    """... and fewer before one goes."""
    look_back_period_s: float = 30.0
    """What is wanted is told by the mean of so long."""
    num_cpus: float = 1.0
    """That one engine takes of its node."""
    num_gpus: float = 0.0
    doors: int = 1
    """Processes that take calls and remember where their likes went."""

    def __post_init__(self) -> None:
        most = self.replicas if self.max_replicas is None else self.max_replicas
        if not 1 <= self.replicas <= most:
            raise ValueError(
                "replicas must be at least 1, and max_replicas no fewer: got "
                f"{self.replicas} and {most}."
            )
        delays = self.upscale_delay_s, self.downscale_delay_s
        for name, seconds in zip(("upscale_delay_s", "downscale_delay_s"), delays, strict=True):
            if not 0 <= seconds < math.inf:
                raise ValueError(f"{name} must be a number of seconds, got {seconds}.")
        if not TOLD_SECONDS < (past := self.look_back_period_s) < math.inf:
            raise ValueError(
                f"look_back_period_s must be more than {TOLD_SECONDS:.0f} seconds, got {past}."
            )
        if self.doors < 1:
            raise ValueError(f"doors must be at least 1, got {self.doors}.")


def build(args: dict[str, Any]) -> Any:
    """A Serve application of `ServiceConfig`'s fields. Raises ValueError, EngineError."""
    check_installed("thespis.frontends.ray.service")
    config = configure(ServiceConfig, args)
    engine, server = configure(EngineConfig, config.engine), configure(ServerConfig, config.server)
    return application(engine, with_keys(server), config)


def application(engine: EngineConfig, server: ServerConfig, config: ServiceConfig) -> Any:
    """Replicas of one engine behind `config.doors` doors."""
    from ray import serve
    from ray.serve.config import RequestRouterConfig

    places = places_of(engine)
    engines = serve.deployment(
        RayReplica,
        name=ENGINE,
        max_ongoing_requests=places,
        max_queued_requests=places,
        ray_actor_options={"num_cpus": config.num_cpus, "num_gpus": config.num_gpus},
        request_router_config=RequestRouterConfig(
            request_router_class=ROUTER,
            request_router_kwargs={"doors": config.doors, "at_once": at_once(engine)},
        ),
        health_check_period_s=HEALTH_SECONDS,
        graceful_shutdown_timeout_s=server.drain_timeout + 2 * END_SECONDS,
        **scaling(config, engine),
    )
    door = serve.deployment(
        RayDoor,
        name=DOOR,
        num_replicas=config.doors,
        max_ongoing_requests=DOOR_CALLS,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=server.drain_timeout,
    )
    told = msgspec.json.encode(ReplicaConfig(engine, server))
    most = int(server.max_body_mb * (1 << 20))
    limits = DoorConfig(most, secrets.token_hex(16), server.root_path, server.api_key)
    return door.bind(engines.bind(told), msgspec.json.encode(limits))


def places_of(engine: EngineConfig) -> int:
    """Requests that one replica takes."""
    return engine.max_requests or 2 * engine.max_num_seqs


def at_once(engine: EngineConfig) -> int:
    """Of those, that it runs together: more of them wait, in it or at the doors."""
    return min(engine.max_num_seqs, places_of(engine))


def scaling(config: ServiceConfig, engine: EngineConfig) -> dict[str, Any]:
    """As Serve takes it. It counts the requests that have come to replicas and that wait at doors,
    and wants so many replicas that each can run its part at once."""
    if config.max_replicas is None or config.max_replicas == config.replicas:
        return {"num_replicas": config.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": config.replicas,
            "max_replicas": config.max_replicas,
            "target_ongoing_requests": at_once(engine),
            "upscale_delay_s": config.upscale_delay_s,
            "downscale_delay_s": config.downscale_delay_s,
            "look_back_period_s": config.look_back_period_s,
        }
    }


class RayReplica:
    """A replica as Serve knows it."""

    async def __init__(self, config: bytes) -> None:  # type: ignore[misc]  # Serve awaits it
        from ray import serve

        name = serve.get_replica_context().replica_id.unique_id
        self._replica = ServedReplica(msgspec.json.decode(config, type=ReplicaConfig), name)
        await self._replica.start()

    async def call(
        self,
        asked: bytes,
        body: bytes,
        so_far: bytes,
        keys: tuple[Sequence[str], str] = ((), ""),
        avoid: Sequence[str] = (),
    ) -> AsyncIterator[AnswerPiece]:
        """`keys`, `avoid`: for the router alone."""
        async for piece in self._replica.call(asked, body, so_far):
            yield piece

    def check_health(self) -> None:
        """Serve replaces this replica where it raises."""
        self._replica.check()

    def __del__(self) -> None:
        """Serve calls it when this replica has nothing more to do."""
        self._replica.end()
