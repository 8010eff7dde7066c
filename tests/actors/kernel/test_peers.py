"""Who can be written to, and what happens to messages that are quicker than the news of their
sender."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from thespis.actors.kernel.peers import PeerTable, UnknownSenders
from thespis.protocol.channel import Received, bind_inbox
from thespis.protocol.edges.control import Gone, Peer, Peers, Stalled
from thespis.protocol.edges.decode_worker_to_preprocessor import DecodeFailed
from thespis.protocol.errors import Failure
from thespis.protocol.topology import edges_from

REPORTS: list[Stalled] = []
"""What the director was told."""


def table(tmp_path: Path, **epochs: int) -> Peers:
    return Peers(
        {
            role.replace("_", "-"): Peer(e, 1, f"ipc://{tmp_path}/{role}", "")
            for role, e in epochs.items()
        }
    )


@pytest.fixture
def peers() -> Iterator[PeerTable]:
    """Of a decode worker, which writes to the preprocessor."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = PeerTable(context, "decode-worker-0", 2, REPORTS.append)
    yield made
    made.close(0)
    context.term()
    REPORTS.clear()


def test_a_message_waits_until_its_sender_can_be_answered(peers: PeerTable, tmp_path: Path) -> None:
    unknown = UnknownSenders(peers)
    early = [Received("preprocessor", 3, "first"), Received("preprocessor", 3, "second")]
    assert [unknown.keep(received) for received in early] == [True, True]
    assert unknown.introduced() == []
    peers.update(table(tmp_path, preprocessor=3))
    assert unknown.introduced() == early
    assert unknown.introduced() == []
    assert not unknown.keep(Received("preprocessor", 3, "third"))


def test_the_older_incarnation_is_no_introduction_for_the_newer(
    peers: PeerTable, tmp_path: Path
) -> None:
    unknown = UnknownSenders(peers)
    peers.update(table(tmp_path, preprocessor=3))
    assert unknown.keep(Received("preprocessor", 4, "early"))


def test_who_is_never_answered_needs_no_introduction(peers: PeerTable) -> None:
    assert not UnknownSenders(peers).keep(Received("fetcher", 1, "anything"))


def test_nothing_goes_to_an_epoch_that_the_sender_knows_to_be_dead(
    peers: PeerTable, tmp_path: Path
) -> None:
    """The news of the death may be slower than what somebody sends again because of it."""
    peers.update(table(tmp_path, preprocessor=3))
    message = DecodeFailed(0, Failure("internal", "no"))
    assert not peers.send("preprocessor", message, after=3)
    peers.gone(Gone("preprocessor", 3))
    peers.update(table(tmp_path, preprocessor=4))
    assert peers.send("preprocessor", message, after=3)


def test_what_died_unknown_is_forgotten(peers: PeerTable, tmp_path: Path) -> None:
    unknown = UnknownSenders(peers)
    unknown.keep(Received("preprocessor", 3, "of the dead"))
    unknown.keep(Received("preprocessor", 4, "of its successor"))
    unknown.gone("preprocessor", 3)
    peers.gone(Gone("preprocessor", 3))
    peers.update(table(tmp_path, preprocessor=4))
    assert [received.message for received in unknown.introduced()] == ["of its successor"]


def fill(peers: PeerTable) -> None:
    """Until the edge to a preprocessor that never reads takes nothing more."""
    bound = edges_from("decode-worker-0")["preprocessor"].bound
    sent = [
        peers.send("preprocessor", DecodeFailed(job, Failure("internal", "x")))
        for job in range(bound + 1)
    ]
    assert sent == [True] * bound + [False]


def test_a_full_edge_is_reported_once_and_ends_nobody_but_its_reader(
    peers: PeerTable, tmp_path: Path
) -> None:
    peers.update(table(tmp_path, preprocessor=3))
    fill(peers)
    assert [Stalled("preprocessor", 3)] == REPORTS
    assert not peers.send("preprocessor", DecodeFailed(0, Failure("internal", "x")))
    assert [Stalled("preprocessor", 3)] == REPORTS


def test_a_deaf_incarnation_is_never_written_to_again_and_its_successor_is(
    peers: PeerTable, tmp_path: Path
) -> None:
    peers.update(table(tmp_path, preprocessor=3))
    fill(peers)
    assert peers.update(table(tmp_path, preprocessor=3)) == []
    assert "preprocessor" not in peers
    assert not UnknownSenders(peers).keep(Received("preprocessor", 3, "its last words"))
    peers.gone(Gone("preprocessor", 3))
    assert [role for role, _ in peers.update(table(tmp_path, preprocessor=4))] == ["preprocessor"]


def test_a_client_has_departed_when_it_was_there_and_until_another_one_has_its_name(
    peers: PeerTable, tmp_path: Path
) -> None:
    client = {"client-a": Peer(0, 1, f"ipc://{tmp_path}/client-a", "")}
    assert not peers.departed("client-a.0"), "its request may be quicker than the news of it"
    peers.update(Peers(client))
    assert not peers.departed("client-a.0")
    peers.gone(Gone("client-a", 0))
    assert peers.departed("client-a.0")
    peers.update(Peers(client))
    assert not peers.departed("client-a.0")


def test_what_a_dead_http_server_asked_for_is_not_answered_to_its_successor(
    tmp_path: Path,
) -> None:
    """What is for the next one waits for it, as for every client that is not known yet."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    inboxes = [bind_inbox(context, f"ipc://{tmp_path}/http.{epoch}") for epoch in (1, 2)]
    peers = PeerTable(context, "detokenizer", 1, REPORTS.append)
    first, second = (Peers({"http": Peer(n, 1, f"ipc://{tmp_path}/http.{n}", "")}) for n in (1, 2))
    peers.update(first)
    message = DecodeFailed(0, Failure("internal", "no"))
    assert peers.send("http.1", message)
    assert inboxes[0].poll(5000)
    peers.gone(Gone("http", 1))
    assert peers.send("http.2", message), "kept"
    assert not peers.send("http.1", message)
    peers.update(second)
    assert (peers.departed("http.1"), peers.departed("http.2")) == (True, False)
    assert not peers.send("http.1", message)
    assert peers.send("http.2", message)
    peers.close(1000)
    heard = [inboxes[1].recv_multipart() for _ in range(2) if inboxes[1].poll(5000)]
    assert len(heard) == 2
    assert not inboxes[1].poll(100)
    for inbox in inboxes:
        inbox.close()
    context.term()


def test_the_log_says_once_per_loss_that_somebody_is_missing(
    peers: PeerTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    message = DecodeFailed(0, Failure("internal", "no"))
    for epoch in (1, 2, 3):
        assert not any(peers.send("preprocessor", message) for _ in range(300))
        assert len(caplog.records) == epoch, "one for each loss, the first introduction included"
        peers.update(table(tmp_path, preprocessor=epoch))
        assert peers.send("preprocessor", message)
        peers.gone(Gone("preprocessor", epoch))


def test_what_is_meant_for_a_client_that_left_is_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    peers = PeerTable(context, "detokenizer", 1, REPORTS.append)
    for number in range(300):
        peers.gone(Gone(f"client-{number}", 0))
        assert not peers.send(f"client-{number}.0", DecodeFailed(0, Failure("internal", "no")))
    assert not caplog.records
    peers.close(0)
    context.term()
