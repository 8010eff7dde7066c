"""An HTTP frontend without callers that takes a moment to end."""

import time
from typing import Any

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.control import Drain, Drained


class Lingering(BlockingActor):
    def hear_director(self, message: Any) -> bool:
        if isinstance(message, Drain):
            self.link.send(Drained(self.role, self.epoch))
        return super().hear_director(message)

    def on_stop(self) -> None:
        time.sleep(1.5)


def main(launch: Launch) -> None:
    Lingering(launch).run()
