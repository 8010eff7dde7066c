"""A server as a stranger starts one, for clients that know nothing of the engine. Run by
scripts/dev clients alone."""

import importlib.util
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NEEDS = {
    "test_agents.py": "agents",
    "test_instructor.py": "instructor",
    "test_litellm_proxy.py": "apscheduler",
    "test_llama_index.py": "llama_index",
    "test_other_apis.py": "langchain_anthropic",
    "test_rerank.py": "cohere",
}
"""The library that one of the two environments lacks."""


def absent(library: str) -> bool:
    return importlib.util.find_spec(library) is None


collect_ignore = [name for name, library in NEEDS.items() if absent(library)]
if absent("pydantic_ai"):  # neither environment
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its base URL."""
    with served("--data-folder", str(tmp_path_factory.mktemp("data"))) as url:
        yield url


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same of a server whose model makes vectors."""
    data = str(tmp_path_factory.mktemp("data"))
    with served("--runner", "pooling", "--data-folder", data) as url:
        yield url


@contextmanager
def served(*flags: str) -> Iterator[str]:
    port = free_port()
    command: list[str | Path] = [
        ROOT / ".venv/bin/python",
        "-P",
        "-m",
        "thespis",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *flags,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        told: list[str] = []
        try:
            for line in server.stdout:
                told.append(line)
                if f":{port}" in line and answers(port):
                    break
            assert server.poll() is None, "".join(told)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.stdout.read()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as reply:
            return bool(reply.status == 200)
    except urllib.error.URLError:
        return False


@pytest.fixture(autouse=True)
def nobody_else_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client speaks to anything but this machine."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    connect = socket.socket.connect

    def local(self: socket.socket, address: object) -> None:
        assert not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1"), address
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", local)
