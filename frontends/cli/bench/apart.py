"""`thespis bench serve` in a process of its own, beside whatever this one does: a load whose client
shares no interpreter with what is measured."""

import json
import subprocess
import sys
from typing import Any

from ....protocol.errors import EngineError

LIMIT_SECONDS = 600.0


def command(url: str, streams: int, **more: int | None) -> list[str]:
    """`more`: further flags of `bench serve`, by name; None: the default."""
    given = {"base-url": f"{url}/v1", "streams": streams} | more
    flags = [
        f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None
    ]
    return [sys.executable, "-P", "-m", "thespis", "bench", "serve", "--json", *flags]


def ask(url: str, streams: int, prompt_tokens: int, max_tokens: int) -> dict[str, Any]:
    """One row of `thespis bench serve`. Raises EngineError with what it said last."""
    words = command(url, streams, prompt_tokens=prompt_tokens, max_tokens=max_tokens)
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise EngineError((done.stderr.strip().splitlines() or ["bench serve said nothing"])[-1])
    row: dict[str, Any] = json.loads(done.stdout)[0]
    return row
