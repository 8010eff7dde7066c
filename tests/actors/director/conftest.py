"""Every engine a test starts here is ended by the test or by the fixture, and must leave nothing behind."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thespis.frontends.engine import EngineHandle

from ...helpers.engines import assert_nothing_left, fake_engine

StartEngine = Callable[..., EngineHandle]


@pytest.fixture
def start() -> Iterator[StartEngine]:
    handles: list[EngineHandle] = []

    def begin(special: dict[str, str] | None = None, **options: Any) -> EngineHandle:
        handles.append(fake_engine(special, **options))
        return handles[-1]

    yield begin
    for handle in handles:
        handle.terminate()
        assert_nothing_left(handle.process.pid, handle.run_dir)
