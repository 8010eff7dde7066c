"""What every test shares: threads, order, time limits, tiny checkpoints, and the search for what
was left behind or told."""

import gc
import shutil
from collections.abc import Generator, Iterator

import pytest
from hypothesis import is_hypothesis_test, settings
from hypothesis.internal.conjecture.engine import MAX_SHRINKING_SECONDS

from .helpers.bodies import Answers, recorded
from .helpers.certificates import authorities_read_once
from .helpers.checkpoints import Checkpoints
from .helpers.environment import BEGAN, HERE
from .helpers.forkserver import (
    Warm,
    engines_start_as_shipped,
    engines_start_warm,
    nobody_gives_way,
)
from .helpers.leaks import left_behind, settle
from .helpers.serving import FOR_PAGES, Server, served
from .helpers.tracebacks import give_lines
from .helpers.warm_commands import commands_start_warm as started_warm
from .zoo.catalog import Zoo

# How long an example takes says more of the machine than of the code; the blob repeats a failure
# where it was not seen.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")

gc.disable()  # until `pytest_collection_finish`

PROCESS_TIMEOUT = 180
"""Seconds; an engine's start is part of its first test."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast tests first: a broken rule is reported before the first engine starts."""
    items.sort(key=lambda item: item.get_closest_marker("process") is not None)
    for item in items:
        if (
            item.get_closest_marker("process") is not None
            and item.get_closest_marker("timeout") is None
        ):
            item.add_marker(pytest.mark.timeout(PROCESS_TIMEOUT))
        if is_hypothesis_test(getattr(item, "obj", None)):
            # A limit that ended the search for a smaller example would hide the failure. Hypothesis
            # bounds that search itself.
            own = item.get_closest_marker("timeout")
            limit = own.args[0] if own is not None else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(limit + MAX_SHRINKING_SECONDS), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where a time limit's signal came, there may be no line, which pytest does not survive."""
    if call.excinfo is not None:
        call.excinfo = pytest.ExceptionInfo.from_exception(give_lines(call.excinfo.value))
    return (yield)


def pytest_collection_finish() -> None:
    """What imports and collection made stays: to look through it for garbage again and again takes
    a tenth of all time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """After everything: no engine process, no run directory, no shared memory."""
    yield
    left = settle(lambda: left_behind(BEGAN, idle=True))
    assert not left, f"the tests left behind: {left}"
    shutil.rmtree(HERE, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_orphaned(
    request: pytest.FixtureRequest, nothing_is_left_behind: None
) -> Iterator[None]:
    """After each module of process tests: nothing but whole engines, which another module may still
    use."""
    yield
    if any(
        item.get_closest_marker("process")
        for item in request.session.items
        if item.path == request.path
    ):
        left = settle(lambda: left_behind(BEGAN, idle=False))
        assert not left, f"the tests of this module left behind: {left}"


@pytest.fixture(scope="session", autouse=True)
def warm(nothing_is_left_behind: None) -> Iterator[Warm]:
    """What every engine of this process begins with is imported once, and its processes are as
    good as others."""
    with nobody_gives_way(), engines_start_warm() as warm:
        yield warm


@pytest.fixture
def started_as_shipped() -> Iterator[None]:
    """Interpreters, and nothing that was imported before."""
    with engines_start_as_shipped():
        yield


@pytest.fixture
def commands_start_warm(warm: Warm) -> Iterator[None]:
    """Where a test is about what they do, and not about how they begin."""
    with started_warm(warm):
        yield


@pytest.fixture(scope="session")
def answers() -> Iterator[Answers]:
    """Whatever a server answers to this process."""
    with authorities_read_once(), recorded() as answers:
        yield answers


@pytest.fixture(autouse=True)
def no_answer_tells_a_secret(answers: Answers) -> Iterator[None]:
    """S56, in every test: no path, address, object repr or traceback in a body."""
    yield
    _, told = answers.look()
    assert not told, f"a caller was told: {told}"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory)


@pytest.fixture(scope="session")
def demo() -> Iterator[Server]:
    """The bundled model, for whoever asks it what a page in docs/ may ask."""
    with served("", **FOR_PAGES) as server:
        yield server


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp("zoo"))
