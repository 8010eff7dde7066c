"""A client's sockets: what is told to whom, and what is handled before what."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from thespis.actors.kernel.pump import Pump
from thespis.frontends.client.joining import Joined
from thespis.protocol.channel import Received, bind_inbox
from thespis.protocol.edges.control import End, Gone, Peer, Peers
from thespis.protocol.errors import EngineError
from thespis.protocol.wire import Decoder

from ...helpers.inbox import FakeInbox, FakeLink


class Notes:
    """Writes down what a connection hands on."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.heard.append(message)

    on_director = on_message

    def on_peers(self) -> None: ...

    on_director_lost = on_gap = on_peers


class Recorder(Notes):
    """With a connection of its own."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        (run_dir / "lock").write_text(str(os.getpid()))
        self.connection = Joined(run_dir, "a")
        self.connection.listener = self

    def close(self) -> None:
        os.close(self.connection._director)
        self.connection._participant.context.destroy(linger=0)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path)
    yield recorder
    recorder.close()


class ControlSocket:
    """An actor's."""

    def __init__(self, run_dir: Path, role: str, epoch: int) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        data, control = (f"ipc://{run_dir}/{role}.{epoch}.{suffix}" for suffix in ("sock", "ctl"))
        self._socket = bind_inbox(self._context, control)
        self.table = Peers({role: Peer(epoch, 1, data, control)})

    def hear(self) -> list[Any]:
        decoder: Decoder[Any] = Decoder(End)
        heard = []
        while self._socket.poll(100):
            heard.append(decoder.decode(self._socket.recv_multipart()[-1]))
        return heard

    def close(self) -> None:
        self._context.destroy(linger=0)


def test_where_no_director_runs_nothing_stays_open(tmp_path: Path) -> None:
    """It may have ended since somebody looked for it. A context that is left open warns when it is
    collected."""
    with pytest.raises(EngineError, match="No engine runs"):
        Joined(tmp_path, "a")
    gc.collect()


def test_who_comes_later_is_told_what_is_over(tmp_path: Path, recorder: Recorder) -> None:
    """The scheduler, which has not heard of it yet, may give the new detokenizer a request that
    ended while there was none."""
    recorder.connection.end(("a",))
    recorder.connection.end(("b", "c"))
    detokenizer = ControlSocket(tmp_path, "detokenizer", 2)
    recorder.connection.hear_director(detokenizer.table)
    recorder.connection.end(("d",))
    recorder.connection.hear_director(detokenizer.table)
    assert detokenizer.hear() == [End(("a", "b", "c")), End(("d",))]
    detokenizer.close()


def test_a_death_is_heard_before_what_was_told_because_of_it(recorder: Recorder) -> None:
    """A preprocessor answers that the media of an attempt went with the fetcher: that attempt is
    over, and not its request."""
    connection: Any = recorder.connection
    news: list[Gone] = []
    connection._news.socket = FakeLink(news)
    incoming = SimpleNamespace(
        fence=lambda role, epoch: None, accept=lambda frames: Received("preprocessor", 1, "lost")
    )
    connection._participant.incoming = incoming
    inbox: Any = FakeInbox(2, news, Gone("fetcher", 1))
    Pump(inbox, connection.hear, first=connection._news).drain()
    assert recorder.heard == ["lost", Gone("fetcher", 1), "lost"]


def test_of_clients_that_have_gone_nothing_is_kept(recorder: Recorder) -> None:
    connection: Any = recorder.connection
    connection._participant.incoming = SimpleNamespace(fence=lambda role, epoch: None)
    connection._news.socket = FakeLink([Gone("client-b", 0), Gone("fetcher", 1)])
    connection._news.drain()
    assert connection._dead == {"fetcher": 1}
