"""What Ray itself has to take of ours, where it is installed: `scripts/dev ray` does the rest."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from thespis.frontends.ray.service import ROUTER, build

pytest.importorskip("ray")


def test_serve_takes_the_application() -> None:
    made = build({"replicas": 2, "max_replicas": 3, "doors": 2, "server": {"port": 0}})
    door = made._bound_deployment
    assert (door.name, door.num_replicas) == ("thespis-door", 2)
    (engines, _) = door.init_args
    scaling = engines._bound_deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 3)
    chosen = engines._bound_deployment._deployment_config.request_router_config
    assert chosen.request_router_class == ROUTER


def test_the_router_orders_replicas_as_the_policy_says() -> None:
    from thespis.frontends.ray.router import AffinityRouter

    router: Any = object.__new__(AffinityRouter)
    router.initialize_state()
    replicas = [SimpleNamespace(replica_id=SimpleNamespace(unique_id=name)) for name in "abc"]

    def asked(id: str, **more: Any) -> Any:
        told = SimpleNamespace(internal_request_id=id)
        future = SimpleNamespace(cancelled=lambda: False)
        return SimpleNamespace(metadata=told, kwargs=more, future=future)

    def best(request: Any) -> str:
        ranks = asyncio.run(router.choose_replicas(replicas, request))
        assert sorted(one.replica_id.unique_id for (one,) in ranks) == ["a", "b", "c"]
        return str(ranks[0][0].replica_id.unique_id)

    home = best(first := asked("1", keys=(("picture",), "")))
    router.on_request_routed(first, SimpleNamespace(unique_id=home), None)
    assert best(asked("2", keys=(("picture",), ""))) == home
    assert best(asked("3", keys=(("picture",), ""), avoid=(home,))) != home
    router.on_request_completed(SimpleNamespace(unique_id=home), "1")
    left = asked("4", keys=((), ""))
    left.future.cancelled = lambda: True
    best(left)
    best(asked("5"))
    assert sum(router._affinity.load.values()) == 3
