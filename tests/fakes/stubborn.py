"""An actor that hears Stop and does not end."""

import time

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch


class Stubborn(BlockingActor):
    def on_stop(self) -> None:
        time.sleep(600)


def main(launch: Launch) -> None:
    Stubborn(launch).run()
