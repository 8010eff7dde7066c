"""A process that a native library ends while it loads."""

import os

from thespis.actors.kernel.launch import Launch


def main(launch: Launch) -> None:
    os.write(2, b"a warning\nterminate called: the \x1bdevice is lost\n\n")
    os.abort()
