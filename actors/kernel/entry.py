"""The first lines of an engine process that has an interpreter of its own: `python -P -m
thespis.actors.kernel.entry LAUNCH`.

LAUNCH is a `Launch` as JSON.
"""

import sys

import msgspec

from .launch import Launch, enter


def main() -> None:
    enter(msgspec.json.decode(sys.argv[1], type=Launch))


if __name__ == "__main__":
    main()
