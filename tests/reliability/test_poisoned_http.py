"""A body that ends the HTTP server: it costs a restart, then its tenant's are read elsewhere; after
proof it is refused."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig

from ..fakes.poisoned_http import INLINE, TAKEN
from ..helpers.torchless import TORCHLESS, played_by

pytestmark = pytest.mark.process
BUDGET = 5
"""Restarts of one role within a minute; one death more without an explanation is the end of the
engine."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    played = played_by({**TORCHLESS, "http": "poisoned_http"})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        server = ServerConfig(port=port, listen_fd=listener.fileno(), api_key=("bad", "good"))
        engine = start_engine(EngineConfig(), server, **played)
        yield port
        assert engine.running
        engine.terminate()


def ask(port: int, text: str, key: str = "bad") -> tuple[int, Any]:
    """Status and answer; 0 where the connection was lost. The listening socket outlives every
    server: callers wait for one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": 1})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (ConnectionError, http.client.BadStatusLine):
        return 0, None
    finally:
        connection.close()


def test_whoever_ends_the_server_does_so_once_whatever_comes_next(port: int) -> None:
    assert ask(port, f"{INLINE.decode()} 0") == (0, None)
    for number in range(2 * BUDGET):
        status, _ = ask(port, f"{INLINE.decode()} {number}")
        assert status == 200  # by a reader, which the fault does not meet
    assert ask(port, "hello", key="good")[0] == 200


def test_a_body_that_ends_it_in_both_ways_is_refused_after_two_deaths_which_cost_no_budget(
    port: int,
) -> None:
    for number in range(BUDGET // 2 + 1):
        text = f"{TAKEN.decode()} {number}"
        told = [ask(port, text) for _ in range(3)]
        assert [status for status, _ in told] == [0, 0, 422]
        assert told[-1][1]["error"]["code"] == "poison"
        assert ask(port, "hello")[0] == 200
    assert ask(port, "hello", key="good")[0] == 200
