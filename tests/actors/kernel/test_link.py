"""The thread that speaks for its process."""

import errno
import time
from pathlib import Path
from typing import Any

import pytest
import zmq

from thespis.actors.kernel import link
from thespis.actors.kernel.launch import director_endpoint
from thespis.actors.kernel.link import DirectorLink
from thespis.protocol.channel import bind_inbox
from thespis.protocol.edges.control import Heartbeat, Stalled, ToDirector
from thespis.protocol.wire import Decoder


@pytest.mark.parametrize(("hang_seconds", "said"), [(300.0, Heartbeat), (0.02, Stalled)])
def test_a_handler_hangs_by_the_time_in_which_its_process_was_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hang_seconds: float, said: type
) -> None:
    """A container that was paused for an hour has a handler that began an hour ago."""
    monkeypatch.setattr(link, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(link, "HANG_SECONDS", hang_seconds)
    context: zmq.Context[Any] = zmq.Context()
    director = bind_inbox(context, director_endpoint(tmp_path))
    decoder: Decoder[Any] = Decoder(ToDirector)
    one = DirectorLink(context, str(tmp_path), "fetcher", 1)
    one.working_since = time.monotonic() - 3600.0
    one.start_heartbeats()
    heard = [type(decoder.decode(director.recv_multipart()[-1])) for _ in range(10)]
    assert heard[0] is Heartbeat
    assert heard[-1] is said
    one.close()
    director.close()
    context.term()


def test_a_process_whose_work_holds_all_its_memory_goes_on_speaking(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An item may be given what it wants up to a limit that is the whole process's."""
    monkeypatch.setattr(link, "HEARTBEAT_SECONDS", 0.01)
    context: zmq.Context[Any] = zmq.Context()
    director = bind_inbox(context, director_endpoint(tmp_path))
    one = DirectorLink(context, str(tmp_path), "fetcher", 1)
    errors: list[Exception] = [MemoryError(), zmq.ZMQError(errno.ENOMEM), zmq.Again()]
    connect = one._connect

    class Short:
        """A socket that has no memory for the first few messages."""

        def __init__(self, suffix: str) -> None:
            self._socket = connect(suffix)
            self.close = self._socket.close

        def send(self, data: bytes, flags: int) -> None:
            if errors:
                raise errors.pop()
            self._socket.send(data, flags)

    monkeypatch.setattr(one, "_connect", Short)
    one.start_heartbeats()
    assert director.poll(5000)
    assert errors == []
    one.close()
    director.close()
    context.term()
