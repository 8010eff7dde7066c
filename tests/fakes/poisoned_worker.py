"""A decode worker to which every picture is the end."""

import os
from typing import Any

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode


class PoisonedWorker(BlockingActor):
    def on_message(self, sender: str, message: Any) -> None:
        if isinstance(message, Decode):
            os.abort()


def main(launch: Launch) -> None:
    PoisonedWorker(launch).run()
