"""`AffinityRouter`: how Ray Serve asks our policy. Ray imports it by its name; the class is made
then, since Ray is no requirement of this package."""

import math
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from .affinity import Affinity
from .keys import LikeKeys

if TYPE_CHECKING:
    AffinityRouter: Any


def _make() -> type:
    from ray.serve.request_router import RequestRouter

    class AffinityRouter(RequestRouter):
        """In the process of the door, which passes `keys` and `avoid` with each call."""

        def initialize_state(self, doors: int = 1, at_once: float = math.inf, **_: Any) -> None:
            self._affinity = Affinity(doors, at_once)
            self._seen: list[Any] | None = None
            """Serve's own list: it makes another one when the replicas are others."""
            self._by_name: dict[str, Any] = {}
            self._waiting: dict[str, Any] = {}
            """Calls that have an order and no replica yet, by id."""

        async def choose_replicas(
            self, candidate_replicas: list[Any], pending_request: Any = None
        ) -> list[list[Any]]:
            if pending_request is None:
                return [candidate_replicas] if candidate_replicas else []
            if candidate_replicas is not self._seen:
                self._seen = candidate_replicas
                self._by_name = {one.replica_id.unique_id: one for one in candidate_replicas}
                # Each door in an order of its own: of replicas with as little to do they would all
                # choose the same one.
                self._affinity.update(random.sample([*self._by_name], len(self._by_name)))
            id = pending_request.metadata.internal_request_id
            own, shared = pending_request.kwargs.get("keys", ((), ""))
            avoid = pending_request.kwargs.get("avoid", ())
            if self._waiting.get(id) is not pending_request:
                self._waiting[id] = pending_request
                pending_request.future.add_done_callback(partial(self._forget, id))
            order = self._affinity.order(id, LikeKeys(tuple(own), shared), avoid)
            return [[self._by_name[name]] for name in order]

        def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
            id = pending_request.metadata.internal_request_id
            self._waiting.pop(id, None)
            self._affinity.moved(id, replica_id.unique_id)

        def on_request_completed(self, replica_id: Any, internal_request_id: str) -> None:
            self._affinity.over(internal_request_id)

        def _forget(self, id: str, future: Any) -> None:
            """It has a replica, or its caller has left before it had one."""
            if self._waiting.pop(id, None) is not None and future.cancelled():
                self._affinity.over(id)

    AffinityRouter.__qualname__ = "AffinityRouter"  # by which it is found in other processes
    return AffinityRouter


def __getattr__(name: str) -> Any:
    if name != "AffinityRouter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _make()
    return made
