"""An actor that only lives, and holds some shared memory that it never gives back by itself."""

from thespis.actors.kernel.actor import Actor, run
from thespis.actors.kernel.launch import Launch
from thespis.protocol.memory.blobs import Arena


class Plain(Actor):
    async def on_start(self, config: bytes) -> dict[str, int]:
        launch = self.launch
        self._arena = Arena(launch.directory, f"{launch.role}.{launch.epoch}", 1 << 30)
        self._arena.put(b"held")
        return {"config_bytes": len(config)}

    def counters(self) -> dict[str, float]:
        return {"epoch": float(self.launch.epoch)}


def main(launch: Launch) -> None:
    run(Plain(launch))
