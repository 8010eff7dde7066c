"""`thespis pull`, `models` and `serve ORG/NAME` as a user starts them, and the two Python faces,
with a hub on loopback."""

import asyncio
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from thespis import LLM, AsyncLLM, EngineError
from thespis.frontends.cli.main import main
from thespis.frontends.engine import start_engine
from thespis.frontends.hub.locate import fetched
from thespis.frontends.python import llm as llm_module
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.checkpoint.hub_id import HubId

from ...helpers.commands import ServeCommand, command
from ...helpers.engines import ROLES, cast_of, forked_together
from ...helpers.hub import FakeHub
from ...helpers.serving import Caller

NAME = "org/demo"
WEIGHTS = (demo_model() / "model.safetensors").stat().st_size


@pytest.fixture
def demo(hub: FakeHub) -> FakeHub:
    hub.add(NAME, demo_model())
    return hub


def pull(
    hub: FakeHub,
    cache: Path,
    *arguments: str,
    fails: bool = False,
    preexec_fn: Callable[[], None] | None = None,
) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(
        command("pull", *arguments),
        env=hub.environment(cache),
        preexec_fn=preexec_fn,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == int(fails), ended
    assert "Traceback" not in ended.stderr
    return ended


def test_a_log_gets_a_line_at_the_start_and_one_at_the_end(demo: FakeHub, cache: Path) -> None:
    ended = pull(demo, cache, NAME)
    folder = Path(ended.stdout.strip())
    assert folder.parent.parent == cache / "hub" / "models--org--demo"
    begun, done = ended.stderr.splitlines()
    assert begun == f"fetching org/demo ({folder.name[:12]}): 9 files, 3.6 MB, into {cache / 'hub'}"
    assert done.startswith(f"fetched org/demo ({folder.name[:12]}): 3.6 MB in ")
    assert pull(demo, cache, f"{NAME}@{folder.name}").stderr == "", (
        "and none where nothing is fetched"
    )


def test_a_terminal_gets_a_bar(demo: FakeHub, cache: Path) -> None:
    keyboard, screen = pty.openpty()
    termios.tcsetwinsize(screen, (24, 120))
    started = [*command("pull", NAME), "--download-dir", str(cache)]
    with subprocess.Popen(
        started, env=demo.environment(cache), stdout=subprocess.DEVNULL, stderr=screen
    ) as process:
        os.close(screen)
        shown = b"".join(iter(partial(_read, keyboard), b"")).decode()
    os.close(keyboard)
    assert process.returncode == 0, shown
    assert "org/demo" in shown
    assert "100%|" in shown
    assert "3.64M/3.64M" in shown
    assert "fetching" not in shown


def _read(terminal: int) -> bytes:
    """b"" when nobody writes there any more."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.mark.timeout(60)
def test_ctrl_c_ends_a_fetch_at_once_and_the_next_goes_on(demo: FakeHub, cache: Path) -> None:
    demo.seconds_per_chunk = 0.1
    process = subprocess.Popen(
        command("pull", NAME), env=demo.environment(cache), stderr=subprocess.PIPE, text=True
    )
    while "model.safetensors" not in demo.fetched():
        time.sleep(0.05)
    time.sleep(0.5)
    demo.seconds_per_chunk = 1.0  # the whole would take a minute
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    demo.seconds_per_chunk = 0
    demo.asked.clear()
    folder = Path(pull(demo, cache, NAME).stdout.strip())
    assert demo.fetched() == ["model.safetensors"]
    assert (demo.asked[-1].range or "").startswith("bytes=")
    assert (folder / "model.safetensors").read_bytes() == (
        demo_model() / "model.safetensors"
    ).read_bytes()


def test_a_disk_that_fills_up_meanwhile_is_said(demo: FakeHub, cache: Path) -> None:
    """A limit of the size of files fails as a full disk does: in the middle of a write."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    ended = pull(demo, cache, NAME, fails=True, preexec_fn=limit)
    assert (
        f"thespis pull: No room for 'org/demo' in '{cache / 'hub'}' (File too large): free some, or"
        in ended.stderr
    )
    assert "model.safetensors" not in os.listdir(
        next((cache / "hub").glob("models--*/snapshots/*"))
    )


def test_offline_takes_the_cache_and_asks_nothing(demo: FakeHub, cache: Path) -> None:
    folder = fetched(HubId(NAME, None), str(cache / "hub"))
    demo.asked.clear()
    offline = demo.environment(cache, HF_HUB_OFFLINE="1")
    ended = subprocess.run(
        command("pull", NAME), env=offline, capture_output=True, text=True, timeout=20
    )
    assert ended.stdout == f"{folder}\n"
    assert (
        f"'org/demo' is taken from the cache as it was at commit {folder.name[:12]}" in ended.stderr
    )
    assert demo.asked == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt2", "No model at 'gpt2'"),
        (str(demo_model()), "is on this machine already"),
        ("org/none", "no model 'org/none' at"),
    ],
)
def test_what_cannot_be_pulled(
    demo: FakeHub, cache: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["pull", name, "--download-dir", str(cache)])
    assert end.value.code == 1
    assert words in capsys.readouterr().err


def test_the_models_in_the_cache_and_whether_they_run(
    demo: FakeHub, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*flags: str) -> list[str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["models", "--download-dir", str(cache), *flags])
        assert end.value.code == 0
        return capsys.readouterr().out.splitlines()

    assert listed() == [f"no models in {cache}: fetch one with `thespis pull ORG/NAME`"]
    broken = {
        "config.json": b'{"model_type": "x"}',
        "model.safetensors": b"broken",
        "tokenizer.json": b'{"model": {}}',
    }
    demo.add("org/broken", broken)
    strange = {"model.safetensors": (demo_model() / "model.safetensors").read_bytes()}
    demo.add("org/strange", {**broken, **strange})
    folder = fetched(HubId(NAME, None), str(cache))
    for name in ("org/broken", "org/strange"):
        fetched(HubId(name, None), str(cache))
    head, second, first, third = listed()
    assert head.split() == ["MODEL", "REVISION", "SIZE", "LAST", "USED", "RUNS", "HERE"]
    assert first.startswith(f"org/demo     main {folder.name[:12]}  3.6 MB")
    assert first.endswith("  yes")
    assert "  no: model.safetensors in" in second
    assert "  no: Models of type 'x' are not supported" in third
    good = json.loads(listed("--json")[1])
    assert (good["name"], good["folder"], good["why_not"]) == (NAME, str(folder), None)
    assert good["bytes"] > WEIGHTS
    assert abs(good["last_used"] - time.time()) < 60


@pytest.mark.process
@pytest.mark.timeout(60)
def test_LLM_takes_an_id(demo: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The roles of its engine are played by fakes."""
    played = dict.fromkeys(ROLES, "plain")
    fakes = partial(start_engine, cast=cast_of(played, **forked_together(played)))
    monkeypatch.setattr(llm_module, "start_engine", fakes)
    commit = demo.repositories[NAME].branches["main"]
    with LLM(NAME, revision="main", download_dir=cache) as llm:
        assert llm._client.model_name == NAME
        assert (cache / "models--org--demo" / "snapshots" / commit / "model.safetensors").is_file()


async def test_AsyncLLM_takes_one_and_a_cancelled_start_lets_go(demo: FakeHub, cache: Path) -> None:
    with pytest.raises(EngineError, match="no model 'org/none' at"):
        await AsyncLLM("org/none", download_dir=str(cache)).start()
    demo.seconds_per_chunk = 0.2
    starting = asyncio.create_task(AsyncLLM(NAME, download_dir=str(cache)).start())
    while "model.safetensors" not in demo.fetched():
        await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    demo.seconds_per_chunk = 1.0  # the whole would take a minute
    async with asyncio.timeout(20):
        await asyncio.get_running_loop().shutdown_default_executor()
    assert not any((cache / "models--org--demo" / "snapshots").glob("*/model.safetensors"))


@pytest.mark.process
@pytest.mark.timeout(60)
def test_serve_by_id_answers_and_a_second_start_asks_once(demo: FakeHub, cache: Path) -> None:
    server = ServeCommand(NAME, environment=demo.environment(cache), torchless=True)
    try:
        caller = Caller(server.url)
        (listed,) = caller.ask("/v1/models").body["data"]
        assert listed["id"] == NAME
        reply = caller.chat("Hello", model=NAME)
        assert reply.status == 200
        assert reply.body["model"] == NAME
        assert reply.body["choices"][0]["message"]["content"]
    finally:
        assert server.end() == 0
    assert f"{NAME} is served at" in server.announcement
    assert server.log.startswith("fetching org/demo (")
    begun = server.log.index("fetched org/demo (")
    assert "ready" not in server.log[:begun], (
        "nothing of the engine runs before the files are there"
    )
    demo.asked.clear()
    fetched(HubId(NAME, None), str(cache / "hub"))
    assert len(demo.asked) == 1


def test_a_start_from_a_folder_knows_no_hub(cache: Path) -> None:
    code = (
        "import sys; from thespis.protocol.config.engine import EngineConfig; from "
        "thespis.frontends.hub.locate import located;"
        "import thespis.frontends.engine; located(EngineConfig()); print('huggingface_hub' in "
        "sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert ended.stdout == "False\n"
