"""Documents: their pages as Pillow drew them, their text, and what is refused, by page and way
out."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from thespis.actors.decode_worker import documents
from thespis.actors.decode_worker.documents import Size, draw, opened, page_size, picture_size
from thespis.actors.decode_worker.page_layouts import find_pages
from thespis.actors.jobs.identity import content_digest
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.edges.decode_worker_to_preprocessor import (
    Decoded,
    DecodeFailed,
    DocumentRead,
    TextRead,
)
from thespis.protocol.edges.preprocessor_to_decode_worker import (
    Decode,
    ForgetDocument,
    ReadDocument,
    ReadText,
)
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.document import DocumentOptions, TextLayer, is_pdf
from thespis.protocol.requests.request import Encoded, MediaItem, Page

from ...helpers import hostile_pdfs, pdfs
from ...helpers.checkpoints import Checkpoints
from .test_actor import Bench

LIMITS = MediaLimits()
WHITE = (255, 255, 255)
PAGES = DocumentOptions()


def drawing(size: tuple[int, int] = (200, 100), colour: str = "red") -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((20, 10, size[0] // 2, size[1] // 2), fill=colour)
    return image


def refusal(work: Callable[[], object]) -> tuple[str | None, str]:
    with pytest.raises(RequestError) as refused:
        work()
    return refused.value.failure.code, refused.value.failure.text


def sizes(data: bytes, options: DocumentOptions, number: int = 1) -> Size:
    with opened(data) as document:
        return picture_size(page_size(document, number), number, options, LIMITS)


# what is seen


@pytest.mark.parametrize("number", [1, 2])
def test_a_page_is_what_was_put_on_it(number: int) -> None:
    drawn = [drawing(), drawing((100, 300), "blue")]
    data = pdfs.of_pictures(drawn)
    wanted = drawn[number - 1]
    shown = draw(data, number, Size(*wanted.size), WHITE)
    assert (shown.mode, shown.size) == ("RGB", wanted.size)
    difference = np.asarray(ImageChops.difference(shown, wanted), np.float32)
    assert difference.mean() < 2, "Pillow writes its pages as JPEG"


def test_a_page_is_drawn_on_the_background_that_was_asked_for() -> None:
    shown = draw(pdfs.of_texts([""]), 1, Size(10, 14), (10, 20, 30))
    assert shown.getpixel((3, 3)) == (10, 20, 30)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (DocumentOptions(dpi=72), (200, 100)),
        (DocumentOptions(dpi=36), (100, 50)),
        (DocumentOptions(pixels=80_000), (400, 200)),
        (PAGES, (556, 278)),  # 200 dpi, since it is small
    ],
)
def test_how_large_a_page_is_drawn(options: DocumentOptions, size: tuple[int, int]) -> None:
    assert sizes(pdfs.of_pictures([drawing()]), options) == size


def test_a_usual_page_has_about_a_million_pixels() -> None:
    width, height = sizes(pdfs.of_texts(["x"]), PAGES)
    assert 0.98 * documents.USUAL_PIXELS < width * height < 1.01 * documents.USUAL_PIXELS
    assert width / height == pytest.approx(595 / 842, rel=0.01)


@pytest.mark.parametrize(
    ("page", "size"),
    [(b"/Rotate 90", (842, 595)), (b"/CropBox[0 0 100 50]", (100, 50)), (b"", (595, 842))],
)
def test_a_page_is_measured_as_it_is_shown(page: bytes, size: tuple[int, int]) -> None:
    assert sizes(pdfs.of_texts(["x"], page=page), DocumentOptions(dpi=72)) == size


def test_the_text_of_pages_in_the_order_that_was_asked_for() -> None:
    data = pdfs.of_texts(["Hello\nWorld", "", "three"])
    assert documents.texts_of(data, (3, 1, 2)) == ["three", "Hello\nWorld", ""]


def test_text_has_no_control_characters_and_one_kind_of_line_end() -> None:
    assert documents.cleaned("a\r\nb\rc\0\x07\tд\ufffe") == "a\nb\nc\tд"
    assert documents.plain_text("\ufeffgrün\r\n".encode()) == "grün\n"
    assert documents.plain_text("grün".encode("utf-16")) == "grün"


# what is refused


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"%PDF-1.7\nnothing", "document_damaged"),
        (pdfs.of_texts(["x"])[:200], "document_damaged"),
        (b"\x89PNG\r\n\x1a\n\0\xff", "unknown_document"),
        (b"PK\3\4\xff\xfe", "unknown_document"),
        (b"a\0b", "unknown_document"),
        (pdfs.circular_pages(), "page_damaged"),
        (pdfs.deep_pages(), "page_damaged"),
        (pdfs.of_texts(["x"], (1, 14_000)), "page_too_large"),
    ],
)  # fmt: skip
def test_documents_that_cannot_be_read(data: bytes, code: str) -> None:
    def read() -> None:
        if not is_pdf(data):
            documents.plain_text(data)
        with opened(data) as document:
            documents.count_pages(document)
        draw(data, 1, sizes(data, PAGES), WHITE)

    found, text = refusal(read)
    assert found == code
    assert text.endswith(".")


def test_an_encrypted_document_says_what_to_do() -> None:
    encrypted = pdfs.raw(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>",
        ],
        b"/ID[(0123456789abcdef)(0123456789abcdef)]/Encrypt<</Filter/Standard/V 2/R 3/Length 128"
        b"/P -4/O(%s)/U(%s)>>" % (b"o" * 32, b"u" * 32),
    )
    code, text = refusal(lambda: sizes(encrypted, PAGES))
    assert code == "document_encrypted"
    assert "without" in text


def test_pages_beyond_the_end_and_too_many_of_them() -> None:
    data = pdfs.of_texts(["x"] * 3)

    def find(*ranges: tuple[int, int | None], most: int = 9) -> object:
        limits = MediaLimits(document_pages=most)
        wanted = DocumentOptions(ranges, text="only")
        return find_pages(data, None, {}, {}, wanted, limits, None)

    code, text = refusal(lambda: find((2, 7)))
    assert (code, "no page 7" in text, "3 pages" in text) == ("page_out_of_range", True, True)
    assert refusal(lambda: find((4, None)))[0] == "page_out_of_range"
    code, text = refusal(lambda: find(most=2))
    assert (code, "'1-2'" in text) == ("too_many_pages", True)
    assert refusal(lambda: find((1, 2), (1, 1), most=2))[0] == "too_many_pages"


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_made() -> None:
    limits = MediaLimits(pixels=1000)
    code, text = refusal(lambda: picture_size((595, 842), 7, DocumentOptions(dpi=72), limits))
    assert (code, "Page 7" in text, "`dpi`" in text) == ("page_too_large", True, True)


@pytest.mark.timeout(90)  # 56 processes, of which some compute for all of their time
def test_hostile_documents_are_drawn_or_refused_or_end_at_their_limits() -> None:
    """Each in a process of its own, as a worker is: nothing reaches beyond its limits, and no
    exception comes that no caller could be told."""
    run = subprocess.run(
        [sys.executable, "-P", "-m", "thespis.tests.helpers.hostile_pdfs"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    ends = dict(line.rsplit(": ", 1) for line in run.stdout.splitlines())
    assert len(ends) == len(hostile_pdfs.CASES), run.stderr
    assert set(ends.values()) <= {"drawn", "refused", "ended"}, ends
    assert {name for name, end in ends.items() if end == "drawn"} >= hostile_pdfs.HARMLESS


def test_what_a_document_asks_a_viewer_to_do_is_not_done(tmp_path: Path) -> None:
    """No file is opened, no connection made, no process started: as the interpreter's own hooks
    and the kernel's table of this process see it."""
    marker = tmp_path / "touched"
    events: list[str] = []
    watching = True

    def hook(event: str, _: object) -> None:
        if watching and event.startswith(
            ("socket", "subprocess", "os.exec", "os.system", "os.posix_spawn")
        ):
            events.append(event)

    data = pdfs.active(str(marker))
    before = sorted(os.listdir("/proc/self/fd"))
    sys.addaudithook(hook)
    shown = draw(data, 1, Size(200, 200), WHITE)
    assert documents.texts_of(data, (1,)) == [""]
    watching = False  # a hook stays for ever
    assert (events, marker.exists()) == ([], False)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert shown.getpixel((100, 100)) == (0, 0, 255), "what it shows is drawn all the same"


# a worker


@pytest.fixture
def bench(checkpoints: Checkpoints, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(checkpoints("qwen_omni"), tmp_path)
    yield bench
    bench.close()


def read(
    bench: Bench, data: bytes, wanted: DocumentOptions = PAGES, preview: bool = False
) -> object:
    item = MediaItem("document", Encoded(bench.blob(data)), "there", document=wanted)
    bench.worker.on_message("preprocessor", ReadDocument(900, item, {}, {}, preview))
    return bench.answers[-1]


def test_a_page_is_what_was_said_of_it_before(bench: Bench) -> None:
    """Layout first, picture later: text, rows and positions are the same, and two pages of one size
    have one layout."""
    data = pdfs.of_texts(["one", "two"])
    found = read(bench, data)
    assert isinstance(found, DocumentRead)
    assert [page.number for page in found.pages] == [1, 2]
    assert len(found.layouts) == 1
    first = found.pages[0]
    page = Page(bench.blob(data), 1, first.width, first.height)
    made = bench.decoded("image", page)
    told = found.layouts[0]
    for name in ("text", "counts", "number", "planes", "anchors", "advance", "tokens", "look"):
        assert getattr(made, name) == getattr(told, name), name
    assert [part.rows for part in made.parts] == [part.rows for part in told.parts]
    look = told.look
    assert (look.width, look.height) == (look.resized_width, look.resized_height), (
        "the model resizes nothing"
    )
    other = bench.decoded("image", Page(bench.blob(data), 2, first.width, first.height))
    assert isinstance(other, Decoded)
    assert other.key != made.key


def test_pages_that_cannot_fit_are_refused_before_one_is_drawn(bench: Bench) -> None:
    data = pdfs.of_texts(["x"] * 400)
    refused = read(bench, data)
    assert isinstance(refused, DecodeFailed)
    assert refused.failure.code == "context_length_exceeded"
    assert "fewer `pages`" in refused.failure.text
    assert refused.failure.part == "there"
    assert isinstance(read(bench, data, preview=True), DocumentRead), (
        "a preview tells what it costs"
    )


def test_the_bytes_of_a_document_are_read_once_for_all_its_pages(bench: Bench) -> None:
    """They have gone when the second is drawn: what was copied and hashed for the first is its
    own, of the same content for the same caller, until nobody has the document any more."""
    data = pdfs.of_texts(["one", "two"])
    blob = bench.blob(data)
    digest = content_digest("blake3", Encoded(blob), data)

    def page(number: int, salt: str = "salt", digest: str | None = f"blake3:{digest}") -> Any:
        item = MediaItem("image", Page(blob, number, 84, 112), "there", digest=digest)
        bench.worker.on_message("preprocessor", Decode(50 + number, item, {}, {}, salt))
        return bench.answers[-1]

    wanted = page(2)
    assert isinstance(wanted, Decoded)
    assert isinstance(page(1), Decoded)
    bench.arena.free(blob)
    assert bench.blob(bytes(len(data))) == blob
    again = page(2)
    assert (again.key, again.digest) == (wanted.key, wanted.digest)
    assert np.array_equal(bench.tensor(again, "pixel_values"), bench.tensor(wanted, "pixel_values"))
    assert isinstance(page(1, salt="another's"), DecodeFailed)
    assert isinstance(page(1), DecodeFailed), "one at a time is kept"
    bench.arena.free(blob)
    assert bench.blob(data) == blob
    assert isinstance(page(1), Decoded)
    bench.worker.on_message("preprocessor", ForgetDocument())
    bench.arena.free(blob)
    assert bench.blob(bytes(len(data))) == blob
    assert isinstance(page(2), DecodeFailed)


@pytest.mark.parametrize("layer", ["none", "only"])
def test_plain_text_has_no_pages(bench: Bench, layer: TextLayer) -> None:
    found = read(bench, b"# Hello\n", DocumentOptions(text=layer))
    assert isinstance(found, DocumentRead)
    assert (found.pages, found.text) == ((), "# Hello\n")
    refused = read(bench, b"# Hello\n", DocumentOptions(((1, 1),)))
    assert isinstance(refused, DecodeFailed)
    assert refused.failure.code == "invalid_pages"


def test_texts_come_by_number(bench: Bench) -> None:
    item = MediaItem("document", Encoded(bench.blob(pdfs.of_texts(["a", "b"]))), "there")
    bench.worker.on_message("preprocessor", ReadText(7, item, (2, 1)))
    assert bench.answers[-1] == TextRead(7, ("b", "a"))
