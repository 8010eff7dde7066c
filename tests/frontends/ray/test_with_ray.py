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
    assert scaling.get_target_ongoing_requests() == 64
    assert (scaling.upscale_delay_s, scaling.downscale_delay_s) == (30, 600)
    chosen = engines._bound_deployment._deployment_config.request_router_config
    assert chosen.request_router_class == ROUTER
    assert chosen.request_router_kwargs == {"doors": 2, "at_once": 64}


async def test_the_router_orders_replicas_as_the_policy_says() -> None:
    from thespis.frontends.ray.router import AffinityRouter

    router: Any = object.__new__(AffinityRouter)
    router.initialize_state(doors=2, at_once=64)
    replicas = [SimpleNamespace(replica_id=SimpleNamespace(unique_id=name)) for name in "abc"]

    def asked(id: str, **more: Any) -> Any:
        told = SimpleNamespace(internal_request_id=id)
        return SimpleNamespace(metadata=told, kwargs=more, future=asyncio.Future())

    async def best(request: Any, there: list[Any] = replicas) -> str:
        ranks = await router.choose_replicas(there, request)
        names = [one.replica_id.unique_id for (one,) in ranks]
        assert sorted(names) == [one.replica_id.unique_id for one in there]
        return str(names[0])

    home = await best(first := asked("1", keys=(("picture",), "")))
    router.on_request_routed(first, SimpleNamespace(unique_id=home), None)
    first.future.set_result(None)
    assert await best(asked("2", keys=(("picture",), ""))) == home
    assert await best(asked("3", keys=(("picture",), ""), avoid=(home,))) != home
    router.on_request_completed(SimpleNamespace(unique_id=home), "1")
    left = asked("4", keys=((), ""))
    await best(left)
    left.future.cancel()
    await asyncio.sleep(0)
    await best(asked("5"), replicas[1:])
    assert router._affinity.load.counts.total() == 3, "of those under way"
    assert set(router._waiting) == {"2", "3", "5"}
