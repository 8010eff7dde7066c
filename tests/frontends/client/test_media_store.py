"""Media bytes that several requests read: free when the last of their owners has dropped them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from thespis.frontends.client.admission import Admission
from thespis.frontends.client.media_store import MediaStore
from thespis.protocol.edges.control import Share
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import BlobRef, block_bytes

SIZE = 1000


@pytest.fixture
def media(tmp_path: Path) -> Iterator[MediaStore]:
    store = MediaStore(tmp_path, "m", Admission(Share(4, 100, 2 * SIZE)), lambda: None)
    yield store
    store.close()


def adopted(media: MediaStore) -> BlobRef:
    path, file = media.draft()
    os.posix_fallocate(file, 0, block_bytes(SIZE))
    os.close(file)
    blob = BlobRef(path, 0, "uint8", (SIZE,))
    media.adopt([blob])
    return blob


@pytest.mark.parametrize("requests", [0, 1, 5])
def test_what_is_shared_is_there_until_its_last_owner_drops_it(
    media: MediaStore, requests: int
) -> None:
    blob = adopted(media)
    media.share(blob)
    for _ in range(requests):
        media.adopt([blob])
    for _ in range(requests):
        media.drop_bytes(blob)
        assert (media.used, Path(blob.segment).exists()) == (block_bytes(SIZE), True)
    media.drop_bytes(blob)
    assert (media.used, Path(blob.segment).exists()) == (0, False)


def test_one_owner_more_takes_no_room(media: MediaStore) -> None:
    blob = adopted(media)
    media.share(blob)
    for _ in range(10):
        media.adopt([blob])
    other = media.put_bytes(b"x" * 900)
    with pytest.raises(RequestError, match="as much media as it takes"):
        media.put_bytes(b"x" * 900)
    media.drop_bytes(other, *[blob] * 11)
    assert media.used == 0


def test_what_is_not_shared_has_one_owner(media: MediaStore) -> None:
    media.drop_bytes(adopted(media))
    assert media.used == 0
