"""The actor in the kernel's docstring, run as its text stands there: a process of its own, with a
director and a client over ipc."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from thespis.actors import kernel
from thespis.actors.kernel.launch import Launch, director_endpoint
from thespis.actors.kernel.participant import Participant
from thespis.protocol.channel import Outgoing, bind_inbox
from thespis.protocol.edges.client_to_fetcher import Fetch
from thespis.protocol.edges.control import (
    Heartbeat,
    Hello,
    Peer,
    Peers,
    Ready,
    Stop,
    ToDirector,
    Welcome,
)
from thespis.protocol.edges.shared import RequestFailed
from thespis.protocol.errors import Failure
from thespis.protocol.requests.request import Request, TextPrompt
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.wire import Decoder, encode

SECONDS = 15


def example() -> str:
    """The indented lines of the docstring."""
    lines = (kernel.__doc__ or "").split("\n")
    return (
        "\n".join(
            line.removeprefix("    ") for line in lines if line.startswith("    ") or not line
        )
        + "\n"
    )


@pytest.fixture
def context() -> Iterator["zmq.Context[Any]"]:
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(linger=0)  # what a test that fails has left open, too


def heard(socket: "zmq.Socket[bytes]", kind: type[Any]) -> tuple[bytes, Any]:
    """The next message to the director that is no heartbeat, and who sent it."""
    until = time.monotonic() + SECONDS
    while socket.poll(max(0, int(1000 * (until - time.monotonic())))):
        frames = socket.recv_multipart()
        message = Decoder[Any](ToDirector).decode(frames[-1])
        if not isinstance(message, Heartbeat):
            assert isinstance(message, kind)
            return frames[0], message
    raise TimeoutError(f"no {kind.__name__} came")


def test_the_docstring_shows_an_actor_in_twelve_lines() -> None:
    assert len([line for line in example().split("\n") if line]) == 12


def test_the_actor_of_the_docstring_answers_a_client(
    tmp_path: Path, context: "zmq.Context[Any]"
) -> None:
    (tmp_path / "refuser.py").write_text(example())
    director = bind_inbox(context, director_endpoint(tmp_path))
    client = Participant(tmp_path, "client-a", 0)
    client.open_inbox()
    launch = msgspec.json.encode(
        Launch("fetcher", 1, str(tmp_path), "refuser", os.getpid())
    ).decode()
    command = [sys.executable, "-P", "-m", "thespis.actors.kernel.entry", launch]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    try:
        link, _ = heard(director, Hello)
        director.send_multipart([link, encode(Welcome(b""))])
        _, ready = heard(director, Ready)
        here = Peer(0, os.getpid(), client.endpoint(), "")
        director.send_multipart([link, encode(Peers({"client-a": here}))])
        edge = Outgoing(context, "client-a", 0, ready.inbox, 1)
        prompt, sampling = TextPrompt("Hello"), SamplingParams()
        edge.send(
            Fetch(
                Request(id="r", client="client-a.0", arrival=0.0, prompt=prompt, sampling=sampling)
            )
        )
        assert client.inbox.poll(1000 * SECONDS)
        answer = client.incoming.accept(client.inbox.recv_multipart())
        assert answer == (
            "fetcher",
            1,
            RequestFailed("r", 0, Failure("media_unavailable", "Nothing is fetched today.")),
        )
        director.send_multipart([link, encode(Stop())])
        edge.close()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        client.close()
        director.close(linger=0)
