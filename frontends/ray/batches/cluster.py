"""The Ray that a batch runs on, and how much of it a replica gets."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ....protocol.errors import EngineError

LOCAL = "local"
START_SECONDS = "120"
"""That a node may take to start; Ray's own limit is less than a machine under load needs."""


class ReplicaShare(NamedTuple):
    cpus: float
    """That Ray counts as taken."""
    threads: int
    """0: the engine decides."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """This program's own Ray if it has one, else that at `address`; without one, of this machine,
    until the end. Raises EngineError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", START_SECONDS)
    import ray

    if ray.is_initialized():
        if address is not None:
            raise EngineError("This program has a Ray already: leave the address out.")
        yield
        return
    try:
        ray.init(
            address=address or LOCAL,
            include_dashboard=False if address in (None, LOCAL) else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises just that where a node starts too late
        where = "on this machine" if address in (None, LOCAL) else f"at {address!r}"
        raise EngineError(f"No Ray could be reached {where}: {type(error).__name__}.") from None
    _quieten()
    try:
        yield
    finally:
        ray.shutdown()


def _quieten() -> None:
    """Of how it plans and runs Ray Data tells whoever uses it at the terminal, and its own log."""
    import ray.data  # which sets up what is quietened

    for handler in logging.getLogger(ray.data.__name__).handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.ERROR)


def nodes() -> list[float]:
    """The processors of each machine of the cluster."""
    import ray

    return [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]


def replica_share(
    cpus: list[float], replicas: int, given: float | None, gpus: float
) -> ReplicaShare:
    """On one machine all but one of the processors are divided, as somebody has to read rows;
    what a machine of several gives nobody can know."""
    if given is not None:
        share = given
    elif gpus or len(cpus) != 1:
        share = 1.0
    else:
        share = max((cpus[0] - 1) / replicas, cpus[0] / replicas / 2)
        share = float(int(share)) if share >= 1 else round(share, 2)
    return ReplicaShare(share, 0 if gpus else max(1, int(share)))
