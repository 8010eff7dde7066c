"""A forked actor that shows what it found: a module loaded by its zygote, its descriptors, its
numbers."""

import os
import random
import sys

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch


class Forked(BlockingActor):
    def on_start(self, config: bytes) -> dict[str, int]:
        ahead = sys.modules.get("ahead")
        return {
            "zygote": ahead.LOADED_IN if ahead is not None else 0,
            "stdin_is_null": int(os.path.samestat(os.fstat(0), os.stat(os.devnull))),
            "draw": random.getrandbits(62),
        }


def main(launch: Launch) -> None:
    Forked(launch).run()
