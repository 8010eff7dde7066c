"""Every engine a test starts here is ended by the test or by the fixture, and must leave nothing
behind.

How an engine is started: `start_engine(EngineConfig(model=...))` in `thespis.frontends.engine`
returns a handle when every process is ready; `handle.run_dir` is where clients join,
`handle.stop()` lets go of it. `fake_engine({"gpu-runner": "name"})` plays all roles with
`tests/fakes/plain.py` but for the named ones; real actors beside fakes: give `start_engine` only
the roles to replace, `cast=cast_of({"gpu-runner": "name"})`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thespis.frontends.engine import EngineHandle

from ...helpers.engines import assert_nothing_left, fake_engine

StartEngine = Callable[..., EngineHandle]


@pytest.fixture
def start(started_as_shipped: None) -> Iterator[StartEngine]:
    handles: list[EngineHandle] = []

    def begin(special: dict[str, str] | None = None, **options: Any) -> EngineHandle:
        handles.append(fake_engine(special, **options))
        return handles[-1]

    yield begin
    for handle in handles:
        handle.terminate()
        assert_nothing_left(handle.process.pid, handle.run_dir)
