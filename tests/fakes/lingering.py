"""An actor that takes a moment to end, like a frontend that drains."""

import time

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch


class Lingering(BlockingActor):
    def on_stop(self) -> None:
        time.sleep(1.5)


def main(launch: Launch) -> None:
    Lingering(launch).run()
