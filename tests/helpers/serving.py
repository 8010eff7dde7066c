"""An engine with its HTTP face, for tests: `with served(folder) as server: server.ask("/v1/models")`."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from thespis.frontends.engine import EngineHandle, start_engine
from thespis.protocol.config import EngineConfig, ServerConfig


class Reply(NamedTuple):
    status: int
    body: Any
    """Decoded JSON, or the text of what is none."""


class Server(NamedTuple):
    url: str
    engine: EngineHandle

    @property
    def run_dir(self) -> Path:
        """Where AsyncLLM joins it."""
        return self.engine.run_dir

    def ask(self, path: str, body: dict[str, Any] | None = None, timeout: float = 60.0) -> Reply:
        """GET, or POST of JSON; every status is an answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return Reply(response.status, _read(response.read()))
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Reply(refusal.code, _read(refusal.read()))

    def chat(self, content: Any, **options: Any) -> Reply:
        """One user message, greedy."""
        message = {"role": "user", "content": content}
        return self.ask("/v1/chat/completions", {"messages": [message], "temperature": 0, "max_tokens": 8, **options})


@contextmanager
def served(model: Path | str = "", **options: Any) -> Iterator[Server]:
    """`options`: fields of EngineConfig. Listens on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = EngineConfig(model=str(model), **options)
        engine = start_engine(config, ServerConfig(host="127.0.0.1", port=port, listen_fd=listener.fileno()))
    try:
        yield Server(f"http://127.0.0.1:{port}", engine)
    finally:
        engine.terminate()


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
