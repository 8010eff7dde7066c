"""An actor that cannot start, and says why."""

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch
from thespis.protocol.errors import EngineError


class Torn(BlockingActor):
    def on_start(self, config: bytes) -> dict[str, int]:
        raise EngineError("The weights are torn: download them again.")


def main(launch: Launch) -> None:
    Torn(launch).run()
