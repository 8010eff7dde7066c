"""Base64 under a limit, and bytes that go into shared memory all together or not at all."""

from typing import Any

import pytest

from thespis.frontends.inputs import media as media_module
from thespis.frontends.inputs.media import Pending, place, read_base64
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import Encoded, Url

from ..openai.fake import FakeClient


def refused(call: Any, *args: Any) -> Failure:
    with pytest.raises(RequestError) as raised:
        call(*args)
    return raised.value.failure


def test_the_size_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_module, "MAX_ITEM_BYTES", 3)
    monkeypatch.setattr("binascii.a2b_base64", None)
    assert refused(read_base64, "YWJjZGVm", "here").code == "media_too_large"


def test_bytes_go_into_shared_memory_only_when_all_fit() -> None:
    client = FakeClient()
    pending = [
        Pending("image", b"12345", "a"),
        Pending("image", Url("https://x"), "b"),
        Pending("audio", b"67890", "c"),
    ]
    items = place(pending, client)
    assert isinstance(items[0].source, Encoded)
    assert isinstance(items[0].source.blob, BlobRef)
    assert items[1].source == Url("https://x")
    assert len(client.blobs) == 2
    client.blobs.clear()
    client.room = 7
    assert refused(place, pending, client).kind == "overloaded"
    assert client.blobs == {}
