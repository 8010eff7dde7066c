"""How long a piece of work may take, and what is said of one that ends its worker."""

from typing import get_args

import pytest

from thespis.actors.jobs.limits import WALL, cpu_seconds, limits_of
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode, ReadDocument, ReadText
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import MediaItem, Modality, Page


@pytest.mark.parametrize("modality", get_args(Modality))
def test_there_are_words_for_every_kind_of_item(modality: Modality) -> None:
    """A prompt's embeddings that took too long ended their worker for want of them."""
    job = Decode(1, MediaItem(modality, None, "media[0]"), {}, {}, "")
    found = limits_of(job, MediaLimits(image_seconds=2.0, decode_seconds=4.0))
    assert found.seconds == WALL * (2.0 if modality == "image" else 4.0)
    assert (found.overrun.code, found.deadly.code) == ("decode_timeout", "poison")


def page(width: int, height: int) -> Decode:
    blob = BlobRef("arena", 0, "uint8", (1,))
    item = MediaItem("image", Page(blob, 7, width, height), "media[0], page 7")
    return Decode(1, item, {}, {}, "")


@pytest.mark.parametrize(("side", "seconds"), [(1, 3.0), (1000, 3.03), (10_000, 6.0), (30_000, 10)])
def test_a_page_may_take_what_its_size_needs(side: int, seconds: float) -> None:
    """A page of 700 bytes that drew itself held a worker for as long as a picture may, and all
    that waited behind it: at ten seconds of CPU time, 22 of the clock on a busy machine."""
    found = limits_of(page(side, side), MediaLimits())
    assert found.seconds == pytest.approx(WALL * seconds)
    assert found.overrun.text.startswith(f"The page takes longer than {seconds:g} s to draw")


def test_what_is_read_of_a_document_may_not_take_what_a_clip_may() -> None:
    """Texts of pages that held each other had a minute of CPU time."""
    item = MediaItem("document", None, "messages[0].content[1]")
    assert cpu_seconds(ReadText(1, item, (3, 9)), MediaLimits()) == 3.0
    assert cpu_seconds(ReadDocument(1, item, {}, {}), MediaLimits()) == 10.0
    assert cpu_seconds(ReadText(1, item, (3, 9)), MediaLimits(decode_seconds=1.0)) == 1.0
    found = limits_of(ReadText(1, item, (3, 9)), MediaLimits()).overrun
    assert found.text.startswith("The text of pages 3 to 9 takes longer than 3 s to read")
    one = limits_of(ReadText(1, item, (3,)), MediaLimits()).overrun
    assert one.text.startswith("The text of page 3 takes")
