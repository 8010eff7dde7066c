"""`thespis serve --replicas N`: a service of replicas on this machine, in a Ray of its own."""

import os
import signal
import threading
from glob import glob

from ...protocol.config.engine import EngineConfig
from ...protocol.config.replicas import ReplicasConfig
from ...protocol.config.server import ServerConfig
from ...protocol.errors import EngineError
from ..engine import checked
from .installed import check_installed
from .service import ServiceConfig, application

STORE_BYTES = 256 << 20
"""Of Ray's object store, through which bodies of 100 KiB and more go to a replica."""
NAME = "thespis"


def cpus_each(replicas: int, cores: int | None) -> int:
    """For one engine: Ray gives as many threads."""
    return max(1, (cores or 1) // replicas)


def serve_replicas(engine: EngineConfig, server: ServerConfig, replicas: ReplicasConfig) -> int:
    """Until a signal comes. Raises EngineError."""
    check_installed("--replicas")
    engine = checked(engine, served=True)  # Ray would try every replica thrice and say it in a log
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import serve

    least, most = replicas.least, replicas.max_replicas
    count = most or least
    each = cpus_each(count, os.cpu_count())
    gpus = float(engine.device != "cpu" and bool(glob("/dev/nvidia[0-9]*")))
    config = ServiceConfig(replicas=least, max_replicas=most, num_cpus=each, num_gpus=gpus)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    ray.init(
        address="local",
        num_cpus=each * count + 1,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        serve.start(http_options=_http(server))
        try:
            serve.run(application(engine, server, config), name=NAME, route_prefix="/")
        except RuntimeError:
            text = "The replicas could not be started; Ray's log says why: {}."
            raise EngineError(text.format("/tmp/ray/session_latest/logs/serve")) from None
        print(f"{engine.name} is served by {least} replicas at {server.url}/v1", flush=True)
        stop.wait()
        serve.shutdown()
    finally:
        ray.shutdown()
    return 0


def _http(server: ServerConfig) -> dict[str, object]:
    """As Serve's proxy takes it."""
    options: dict[str, object] = {"host": server.host, "port": server.port}
    if server.ssl_certfile is not None:
        options["ssl_certfile"] = server.ssl_certfile
        options["ssl_keyfile"] = server.ssl_keyfile or server.ssl_certfile
    return options
