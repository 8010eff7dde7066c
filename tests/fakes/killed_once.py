"""A process whose first incarnation is killed while it loads."""

import os
import signal

import plain  # beside this file, on the engine's path

from thespis.actors.kernel.launch import Launch


def main(launch: Launch) -> None:
    if launch.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    plain.main(launch)
