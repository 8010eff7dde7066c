import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from thespis.protocol import channel
from thespis.protocol.channel import (
    ChannelFull,
    Gap,
    Incoming,
    Outgoing,
    Received,
    bind_inbox,
    socket_path,
)
from thespis.protocol.edges.scheduler_to_gpu_runner import ForgetSequences
from thespis.protocol.edges.shared import MediaRead
from thespis.protocol.wire import encode

MESSAGE = MediaRead("r1", 0)


def frames(
    sender: str = "preprocessor.3", epoch: int = 3, sequence: int = 0, body: bytes | None = None
) -> list[bytes]:
    return [
        sender.encode(),
        struct.pack(">QQ", epoch, sequence),
        encode(MESSAGE) if body is None else body,
    ]


@pytest.fixture
def context() -> Iterator["zmq.Context[Any]"]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


def test_messages_travel_in_order_with_their_sender(
    context: "zmq.Context[Any]", tmp_path: Path
) -> None:
    endpoint = socket_path(tmp_path, "fetcher", 1)
    inbox = bind_inbox(context, endpoint)
    outgoing = Outgoing(context, "preprocessor", 3, endpoint, 16)
    incoming = Incoming("fetcher")
    for number in range(3):
        outgoing.send(MediaRead(f"r{number}", 0))
    for number in range(3):
        assert inbox.poll(5000)
        assert incoming.accept(inbox.recv_multipart()) == Received(
            "preprocessor", 3, MediaRead(f"r{number}", 0)
        )
    outgoing.close()
    inbox.close()


def test_a_message_that_cannot_be_written_leaves_nothing_of_itself(
    context: "zmq.Context[Any]", tmp_path: Path
) -> None:
    endpoint = socket_path(tmp_path, "fetcher", 1)
    inbox = bind_inbox(context, endpoint)
    outgoing = Outgoing(context, "preprocessor", 3, endpoint, 16)
    with pytest.raises(UnicodeEncodeError):
        outgoing.send(MediaRead("\ud800", 0))
    outgoing.send(MESSAGE)
    assert inbox.poll(5000)
    assert Incoming("fetcher").accept(inbox.recv_multipart()) == Received(
        "preprocessor", 3, MESSAGE
    )
    outgoing.close()
    inbox.close()


def test_a_full_edge_is_a_fault_and_never_waits(
    context: "zmq.Context[Any]", tmp_path: Path
) -> None:
    outgoing = Outgoing(context, "preprocessor", 3, socket_path(tmp_path, "fetcher", 1), 4)
    for _ in range(4):
        outgoing.send(MESSAGE)
    with pytest.raises(ChannelFull, match="MediaRead"):
        outgoing.send(MESSAGE)
    outgoing.close()


def test_one_incarnation_is_bound_once(context: "zmq.Context[Any]", tmp_path: Path) -> None:
    endpoint = socket_path(tmp_path, "fetcher", 1)
    inbox = bind_inbox(context, endpoint)
    with pytest.raises(FileExistsError):
        bind_inbox(context, endpoint)
    inbox.close()


def test_a_path_that_is_too_long_for_a_socket_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too long"):
        socket_path(tmp_path / ("x" * 100), "fetcher", 1)


def test_a_missing_message_is_noticed() -> None:
    incoming = Incoming("fetcher")
    assert incoming.accept(frames(sequence=0)) is not None
    with pytest.raises(Gap, match="expected message 1, got 2"):
        incoming.accept(frames(sequence=2))


def test_a_first_message_that_is_not_the_first_is_a_gap() -> None:
    with pytest.raises(Gap):
        Incoming("fetcher").accept(frames(sequence=1))


def test_a_message_is_not_heard_twice() -> None:
    incoming = Incoming("fetcher")
    assert incoming.accept(frames()) is not None
    assert incoming.accept(frames()) is None
    assert incoming.dropped == 1


def test_the_dead_are_not_heard_and_their_successors_are() -> None:
    incoming = Incoming("fetcher")
    assert incoming.accept(frames()) is not None
    incoming.fence("preprocessor", 3)
    assert incoming.accept(frames(sequence=1)) is None
    assert incoming.accept(frames("preprocessor.2", epoch=2)) is None
    assert incoming.accept(frames("preprocessor.4", epoch=4)) == Received(
        "preprocessor", 4, MESSAGE
    )
    incoming.fence("preprocessor", 2)  # late news of an older death
    assert incoming.accept(frames("preprocessor.4", 4, 1)) is not None
    assert incoming.dropped == 2


def test_of_clients_only_the_last_to_go_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_FENCED", 3)
    incoming = Incoming("preprocessor")
    incoming.fence("fetcher", 1)
    for name in "abcd":
        incoming.fence(f"client-{name}", 0)
    assert incoming._fenced == {"fetcher": 1, "client-c": 0, "client-d": 0}


@pytest.mark.parametrize(
    "bad",
    [
        frames()[:2],
        [*frames(), b""],
        [b"preprocessor.3", b"short", encode(MESSAGE)],
        frames(sender="scheduler.3"),
        frames(sender="\udcff".encode("utf-8", "surrogateescape").decode("latin-1")),
        frames(body=b""),
        frames(body=encode(ForgetSequences())),
    ],
    ids=[
        "two frames",
        "four frames",
        "header",
        "no such edge",
        "no role",
        "empty",
        "of another edge",
    ],
)
def test_what_is_no_message_of_an_edge_is_dropped_and_counted(bad: list[bytes]) -> None:
    incoming = Incoming("fetcher")
    assert incoming.accept(bad) is None
    assert incoming.dropped == 1


def test_roles_with_a_number_share_their_kinds_edge() -> None:
    from thespis.protocol.edges.decode_worker_to_preprocessor import DecodeFailed
    from thespis.protocol.errors import Failure

    failed = DecodeFailed(1, Failure("internal", "text"))
    incoming = Incoming("preprocessor")
    for role in ("decode-worker-0", "decode-worker-7"):
        assert incoming.accept(frames(f"{role}.1", 1, body=encode(failed))) == Received(
            role, 1, failed
        )


def test_who_asks_again_for_what_is_missing_can_go_on_behind_it() -> None:
    incoming = Incoming("fetcher")
    with pytest.raises(Gap):
        incoming.accept(frames(sequence=4))
    incoming.skip_to(frames(sequence=4))
    assert incoming.accept(frames(sequence=4)) is not None
    assert incoming.accept(frames(sequence=3)) is None
    assert incoming.accept(frames(sequence=5)) is not None
