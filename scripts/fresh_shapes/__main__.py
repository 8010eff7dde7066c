"""`scripts/dev fresh-shapes --seed 1 --count 200`: compares drawn shapes with transformers; exit
code 1 for a difference."""

import argparse
import random
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import transformers

from thespis.protocol.errors import EngineError
from thespis.tests.zoo.kinds import Animal
from thespis.tests.zoo.shapes import compare, draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev fresh-shapes", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=None, help="of the whole run (drawn and printed)"
    )
    parser.add_argument("--count", type=int, default=200, help="of configurations (200)")
    parser.add_argument(
        "--only", type=int, default=None, metavar="PLACE", help="this one of them alone"
    )
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10_000)
    print(f"seed {seed}", flush=True)
    transformers.logging.set_verbosity_error()
    began, equal, failed = time.monotonic(), Counter[str](), 0
    for place in range(given.count) if given.only is None else (given.only,):
        name, drawn = draw(random.Random(f"{seed} {place}"))
        text = difference(drawn)
        equal[name] += text is None
        if text is not None:
            failed += 1
            print(f"{place}: {name}: {text}\n   {drawn.config}", flush=True)
    print(
        f"{equal.total()} equal, {failed} not, in {time.monotonic() - began:.0f} s: "
        f"{dict(sorted(equal.items()))}"
    )
    return 1 if failed else 0


def difference(drawn: Animal) -> str | None:
    with tempfile.TemporaryDirectory(prefix="shape-") as folder:
        try:
            return compare(drawn, Path(folder))
        except EngineError as error:
            return str(error)
        except Exception:  # of whichever part; the run goes on
            return traceback.format_exc(limit=-3)


if __name__ == "__main__":
    raise SystemExit(main())
