"""A process that ends without a word."""

import sys

from thespis.actors.kernel.launch import Launch


def main(launch: Launch) -> None:
    sys.exit(3)
