"""What ids of items name: the first content of their tenant."""

from pathlib import Path

import pytest

from thespis.actors.preprocessor import identities
from thespis.actors.preprocessor.identities import Identities
from thespis.actors.preprocessor.pending_request import PendingRequest
from thespis.actors.prompting.prompt import Rendered
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import BlobReader
from thespis.protocol.requests.request import MediaItem

from .parts import chat, request


def named(tenant: str, uuid: str, digest: str | None) -> PendingRequest:
    item = MediaItem("image", None, "media[0]", uuid)
    asked = request(chat("x", 0), (item,), tenant=tenant)
    return PendingRequest(asked, False, Rendered([], "", {}), [], asked.sampling, [digest])


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Identities:
    monkeypatch.setattr(identities, "BINDINGS", 2)
    return Identities("blake3", BlobReader(tmp_path))


def test_S21_an_id_names_the_first_content_of_its_tenant(known: Identities) -> None:
    assert known.identify(named("t", "sku", "d1"), 0) == "d1"
    assert known.identify(named("t", "sku", "d1"), 0) == "d1"
    with pytest.raises(RequestError, match="names other content already"):
        known.identify(named("t", "sku", "d2"), 0)
    assert known.identify(named("u", "sku", "d2"), 0) == "d2"
    assert known.identify(named("t", "sku", None), 0) == "d1"
    assert known.identify(named("t", "other", "d3"), 0) == "d3"
    with pytest.raises(RequestError, match="Cache miss"):
        known.identify(named("u", "sku", None), 0)


def test_B14_ids_name_nothing_after_a_reset(known: Identities) -> None:
    assert known.identify(named("alice", "cat", "1"), 0) == "1"
    known.clear()
    with pytest.raises(RequestError, match="Cache miss"):
        known.identify(named("alice", "cat", None), 0)
    assert known.identify(named("alice", "cat", "2"), 0) == "2"


def test_an_id_of_what_failed_is_free_again(known: Identities) -> None:
    pending = named("alice", "cat", "1")
    known.identify(pending, 0)
    known.free(pending)
    assert known.identify(named("alice", "cat", "2"), 0) == "2"
