"""`thespis serve` as its own process, as an operator would start it, and what it leaves when it has
ended."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

START_SECONDS = 180.0
END_SECONDS = 60.0
ENGINE: dict[str, Any] = {
    "allow_private_media": True,
    "mm_processor_cache_gb": 0.0,
    "kv_cache_gb": 0.125,
    "runner_threads": 1,
    "encoder_threads": 1,
    "dtype": "float32",
    "device": "cpu",
}
"""Of both engines. Without the processor's cache every request is decoded anew, so that decode
workers have work; a KV cache this small has been touched everywhere after half a minute, so that
memory can be seen to stay flat."""
SURROUNDINGS = {"OMP_NUM_THREADS": "1"} | {
    f"THESPIS_{kind}_FETCH_TIMEOUT": "60" for kind in ("IMAGE", "VIDEO", "AUDIO")
}
"""Media come from the load's own process, which may have to wait for a core as long as a picture's
fetch may take."""
KEYS = tuple(f"key-{number}" for number in range(50))
"""Of as many tenants."""
_LINE = re.compile(rb"is served at (http://\S+)/v1 \(run directory (.+)\)")


class Served(NamedTuple):
    url: str
    run_dir: Path
    process: "asyncio.subprocess.Process"


@asynccontextmanager
async def served(
    model: Path, log: Path, engine: Mapping[str, Any] = ENGINE, keys: Sequence[str] = KEYS
) -> AsyncIterator[Served]:
    """A server on a free port; its log goes to `log`. It is ended in order; whether it ended well
    is for the caller to see. What it stores for its callers goes with it. `engine`: fields of
    EngineConfig.
    """
    command = [
        sys.executable,
        "-P",
        "-m",
        "thespis",
        "serve",
        str(model),
        "--port",
        "0",
        *flags(engine),
        *(f"--api-key={key}" for key in keys),
    ]
    data = tempfile.mkdtemp(prefix="stress-data-")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **SURROUNDINGS, "XDG_DATA_HOME": data},
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            found = _LINE.search(await process.stdout.readline())
        if found is None:
            raise RuntimeError(f"the server did not start; see {log}")
        yield Served(found[1].decode(), Path(found[2].decode()), process)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(END_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        shutil.rmtree(data, ignore_errors=True)


def flags(engine: Mapping[str, Any]) -> list[str]:
    """Options as the command line takes them."""
    given: list[str] = []
    for name, value in engine.items():
        given.append(f"--{name.replace('_', '-')}")
        if value is not True:
            given.append(json.dumps(value) if isinstance(value, dict) else str(value))
    return given
