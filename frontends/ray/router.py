"""`AffinityRouter`: how Ray Serve asks our policy. Ray imports it by its name; the class is made
then, since Ray is no requirement of this package."""

from typing import TYPE_CHECKING, Any

from .affinity import Affinity
from .keys import LikeKeys

if TYPE_CHECKING:
    AffinityRouter: Any


def _make() -> type:
    from ray.serve.request_router import RequestRouter

    class AffinityRouter(RequestRouter):
        """In the process of the door, which passes `keys` and `avoid` with each call."""

        def initialize_state(self, **_: Any) -> None:
            self._affinity = Affinity()
            self._waiting: dict[str, Any] = {}
            """Calls that have an order and no replica yet, by id."""

        async def choose_replicas(
            self, candidate_replicas: list[Any], pending_request: Any = None
        ) -> list[list[Any]]:
            if pending_request is None:
                return [candidate_replicas] if candidate_replicas else []
            self._forget_the_cancelled()
            by_name = {one.replica_id.unique_id: one for one in candidate_replicas}
            id = pending_request.metadata.internal_request_id
            own, shared = pending_request.kwargs.get("keys", ((), ""))
            avoid = pending_request.kwargs.get("avoid", ())
            self._waiting[id] = pending_request
            order = self._affinity.order(id, LikeKeys(tuple(own), shared), list(by_name), avoid)
            return [[by_name[name]] for name in order]

        def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
            id = pending_request.metadata.internal_request_id
            self._waiting.pop(id, None)
            self._affinity.moved(id, replica_id.unique_id)

        def on_request_completed(self, replica_id: Any, internal_request_id: str) -> None:
            self._affinity.over(internal_request_id)

        def _forget_the_cancelled(self) -> None:
            for id in [id for id, one in self._waiting.items() if one.future.cancelled()]:
                del self._waiting[id]
                self._affinity.over(id)

    AffinityRouter.__qualname__ = "AffinityRouter"  # by which it is found in other processes
    return AffinityRouter


def __getattr__(name: str) -> Any:
    if name != "AffinityRouter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _make()
    return made
