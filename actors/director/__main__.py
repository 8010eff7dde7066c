"""The director's process: `python -P -m thespis.actors.director --run-dir DIR`, a `DirectorConfig`
as JSON line on stdin.

stdin stays open for as long as the face that started it wants the engine; stdout carries
`Announcement` lines.
"""

import argparse
import os
import sys
from pathlib import Path

from .janitor_keeper import JanitorKeeper
from .run_dir import take_lock


def main() -> None:
    parser = argparse.ArgumentParser(prog="thespis director")
    parser.add_argument("--run-dir", type=Path, required=True)
    run_dir: Path = parser.parse_args().run_dir.resolve()
    lock = take_lock(run_dir)
    janitor = JanitorKeeper(run_dir)
    code = 1
    try:
        from .life import live

        code = live(run_dir, janitor)
    finally:
        janitor.finish()  # nothing is left when the director has ended
        os.close(lock)
    sys.exit(code)


if __name__ == "__main__":
    main()
