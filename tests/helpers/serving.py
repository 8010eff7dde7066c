"""An engine with its HTTP face, for tests: `with served(folder) as server:
server.ask("/v1/models")`."""

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from thespis.frontends.engine import EngineHandle, start_engine
from thespis.protocol.chat_templates.tool_styles import ToolParser
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig

from .torchless import played_by

FOR_PAGES: dict[str, Any] = {
    "enable_mm_embeds": True,
    "enable_prompt_embeds": True,
    "enforce_eager": True,
    "trust_remote_code": True,
    "allowed_local_media_path": str(Path(demo_model()) / "media"),
}
"""Options that README.md and the pages in docs/ ask for, of the fixture `demo`."""


class Reply(NamedTuple):
    status: int
    body: Any
    """Decoded JSON, or the text of what is none."""
    headers: Mapping[str, str]
    """As they were written."""


class Caller:
    """Who calls a server, with the key that it asks for."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url, self.key = url, key

    def ask(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        timeout: float = 60.0,
        key: str | None = None,
    ) -> Reply:
        """GET, or POST of JSON; every status is an answer. `key`: another caller's."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        if key or self.key:
            request.add_header("Authorization", f"Bearer {key or self.key}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return Reply(response.status, _read(response.read()), dict(response.headers))
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Reply(refusal.code, _read(refusal.read()), dict(refusal.headers))

    def stream(self, path: str, body: dict[str, Any]) -> bytes:
        """The bytes of a streamed answer, whole."""
        with self.streaming(path, body) as response:
            assert response.status == 200
            return response.read()

    @contextmanager
    def streaming(self, path: str, body: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
        """A streamed answer whose first bytes have been read or not, as the test likes."""
        host, port = self.url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.key}"} if self.key else {}
        )
        try:
            connection.request("POST", path, json.dumps({**body, "stream": True}), headers)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def chat(self, content: Any, **options: Any) -> Reply:
        """One user message, greedy."""
        message = {"role": "user", "content": content}
        return self.ask(
            "/v1/chat/completions",
            {"messages": [message], "temperature": 0, "max_tokens": 8, **options},
        )


class Server(Caller):
    """An engine of these tests, and its first caller."""

    def __init__(self, url: str, engine: EngineHandle, key: str | None = None) -> None:
        super().__init__(url, key)
        self.engine = engine

    @property
    def run_dir(self) -> Path:
        """Where AsyncLLM joins it."""
        return self.engine.run_dir


@contextmanager
def served(
    model: Path | str = "",
    *,
    api_key: tuple[str, ...] = (),
    tool_call_parser: ToolParser = "auto",
    modules: dict[str, str] | None = None,
    server: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[Server]:
    """`options`: fields of EngineConfig; `server`: more of ServerConfig; `modules`: fakes, by
    role. Listens on a free port of this machine; asks with the first of the keys.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = EngineConfig(model=str(model), **options)
        engine = start_engine(
            config,
            ServerConfig(
                host="127.0.0.1",
                port=port,
                tool_call_parser=tool_call_parser,
                api_key=api_key,
                listen_fd=listener.fileno(),
                **(server or {}),
            ),
            **played_by(modules, str(model)),
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", engine, api_key[0] if api_key else None)
    finally:
        engine.terminate()


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
