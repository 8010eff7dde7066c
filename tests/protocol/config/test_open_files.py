"""An engine that cannot live within its limit on open files says so in one sentence, before it
starts."""

import os
import resource
import subprocess
import sys

import pytest

from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.config.open_files import MOST, check_file_limit, raise_file_limit
from thespis.protocol.errors import EngineError

TRY = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2); "
    "from thespis.__main__ import main; sys.argv = ['thespis', 'serve', sys.argv[2], '--port', "
    "'0']; main()"
)


@pytest.mark.parametrize("limit", [0, 20, 64, 96, 127])
def test_a_server_that_could_answer_nobody_is_refused(limit: int) -> None:
    with pytest.raises(
        EngineError,
        match=rf"limit on open files is {limit}, .* needs at least 128: raise it, .* `ulimit -n "
        rf"4096`",
    ):
        check_file_limit(1, True, 128, limit)


@pytest.mark.parametrize("limit", [20, 64, 79])
def test_an_engine_without_a_server_needs_less(limit: int) -> None:
    with pytest.raises(EngineError, match="needs at least 80"):
        check_file_limit(1, False, 128, limit)
    assert check_file_limit(1, False, 128, 96) is None


@pytest.mark.parametrize(("limit", "callers"), [(128, 16), (200, 88), (239, 127)])
def test_fewer_callers_than_requests_is_worth_a_warning(limit: int, callers: int) -> None:
    said = check_file_limit(1, True, 128, limit)
    assert said is not None
    assert f"about {callers} callers" in said


@pytest.mark.parametrize("limit", [240, 1024, MOST])
def test_enough_is_enough(limit: int) -> None:
    assert check_file_limit(1, True, 128, limit) is None


def test_workers_need_files_too() -> None:
    with pytest.raises(EngineError, match="needs at least 156"):
        check_file_limit(8, True, 128, 150)
    with pytest.raises(EngineError, match="ulimit -n 40076"):
        check_file_limit(10_000, False, 128, 1024)


def test_the_limit_of_a_child_is_raised_as_far_as_it_may_be() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        resource.prlimit(
            child.pid, resource.RLIMIT_NOFILE, (50, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        )
        raise_file_limit(child.pid)
        soft, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard if hard != resource.RLIM_INFINITY else MOST, MOST)
    finally:
        child.kill()
        child.wait()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("limit", [64, 96])
def test_serve_says_so_in_one_sentence_and_starts_nothing(limit: int) -> None:
    command = [sys.executable, "-P", "-c", TRY, str(limit), str(demo_model())]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert ended.returncode != 0
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert f"The limit on open files is {limit}, and this engine needs at least 128" in line
