"""S66: documents by every face: pages as pictures, in their place, some of them, in the size that
was asked for, with their text; and input_video."""

import base64
from typing import Any

import pypdfium2
import pytest

from thespis import LLM

from ..helpers import pdfs
from ..helpers.media import clip, data_url, picture, png
from ..helpers.serving import Server
from .counting import Watch
from .faces import Face, HttpFace, OfflineFace, ask, refusal
from .web import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
WORDS = {"type": "text", "text": "What is that?"}
QUAD = 28 * 28
"""Pixels of a row of the tiny model."""


def sheets(*seeds: int) -> bytes:
    """A page of 56x56 points for each, drawn by Pillow."""
    return pdfs.of_pictures([picture(seed) for seed in seeds])


def url_of(data: bytes, kind: str = "application/pdf") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def file(data: bytes, **options: Any) -> dict[str, Any]:
    """As OpenAI's clients send it."""
    return {"type": "file", "file": {"file_data": url_of(data), "filename": "a.pdf"}, **options}


def seen(face: Face, *parts: dict[str, Any], **options: Any) -> Any:
    return ask(face, [*parts, WORDS], **options)


def pictures(*seeds: int) -> list[dict[str, Any]]:
    """The pages as another program would draw and send them."""
    return [
        {"type": "image_url", "image_url": {"url": data_url("image/png", drawn(seed))}}
        for seed in seeds
    ]


def drawn(seed: int) -> bytes:
    with pypdfium2.PdfDocument(sheets(seed)) as document:
        return png(document[0].render(scale=1).to_pil().convert("RGB"))


def test_S66_a_document_is_its_pages_as_pictures(face: Face) -> None:
    """Drawn as its own programs would, in order; same tokens as these pictures give."""
    whole = seen(face, file(sheets(1, 2, 3), dpi=72))
    apart = seen(face, *pictures(1, 2, 3))
    assert whole.prompt_token_ids == apart.prompt_token_ids
    assert whole.token_ids == apart.token_ids
    assert whole.media_tokens == apart.media_tokens == {"image": 12}


@pytest.mark.parametrize(
    ("pages", "seeds"), [("3,1-2", (13, 11, 12)), ("4-", (14,)), (2, (12,)), ("2,2", (12, 12))]
)
def test_S66_some_pages_in_the_order_that_was_asked_for(
    pages: str | int, seeds: tuple[int, ...], any_face: Face
) -> None:
    some = seen(any_face, file(sheets(11, 12, 13, 14), dpi=72, pages=pages))
    assert some.token_ids == seen(any_face, *pictures(*seeds)).token_ids


@pytest.mark.parametrize(
    ("options", "rows"),
    [({"pixels": 16 * QUAD}, 12), ({"pixels": 4 * QUAD}, 4), ({"dpi": 72}, 4), ({}, 12)],
)
def test_S66_resolution_says_how_many_tokens_a_page_takes(
    options: dict[str, Any], rows: int, any_face: Face
) -> None:
    """The model's own bounds are 4 to 12 rows; a page is drawn as large as it sees one."""
    answer = seen(any_face, file(sheets(5), **options))
    assert answer.media_tokens["image"] <= rows
    if rows == 4:
        assert answer.media_tokens["image"] == 4


def test_S66_the_text_of_a_page_goes_with_it_or_alone(llm: LLM) -> None:
    face = OfflineFace(llm)
    data = pdfs.of_texts(["alpha beta", "gamma"])
    only = seen(face, file(data, text="only"))
    plain = seen(face, {"type": "text", "text": "alpha beta\n\ngamma"})
    assert only.prompt_token_ids == plain.prompt_token_ids
    assert only.media_tokens == {}
    beside = seen(face, file(data, text=True))
    without = seen(face, file(data))
    assert beside.media_tokens == without.media_tokens
    assert len(beside.prompt_token_ids) > len(without.prompt_token_ids)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_data": url_of(b"# Hi\n", "text/markdown")}},
        {"type": "input_file", "file_data": base64.b64encode(b"# Hi\n").decode()},
        {"type": "file", "file": {"file_data": url_of(b"\xef\xbb\xbf# Hi\n", "text/plain")}},
    ],
    ids=["markdown", "input_file", "bom"],
)
def test_S66_files_of_text_are_texts(part: dict[str, Any], server: Server) -> None:
    face = HttpFace(server)
    plain = seen(face, {"type": "text", "text": "# Hi\n"})
    assert seen(face, part).prompt_token_ids == plain.prompt_token_ids


def test_S66_a_file_may_be_a_picture(server: Server) -> None:
    face = HttpFace(server)
    (shown,) = pictures(7)
    given = {"type": "file", "file": {"file_data": shown["image_url"]["url"]}}
    assert seen(face, given).token_ids == seen(face, shown).token_ids


def test_S66_python_gives_the_bytes(llm: LLM) -> None:
    face = OfflineFace(llm)
    data = sheets(21)
    given = {"type": "document", "document": data, "dpi": 72}
    assert seen(face, given).token_ids == seen(face, file(data, dpi=72)).token_ids


def test_S66_a_document_by_url(ruled: Server) -> None:
    face = HttpFace(ruled)
    with Site() as site:
        address = site.url("/document-31.pdf", "127.0.0.1")
        by_url = seen(face, {"type": "input_file", "file_url": address, "pages": "2"})
    assert by_url.token_ids == seen(face, file(sheets(32))).token_ids


def test_S66_a_known_page_is_neither_drawn_nor_encoded_again(llm: LLM) -> None:
    face = OfflineFace(llm)
    part = file(sheets(41, 42), dpi=72)
    first = seen(face, part)
    watch = Watch(llm)
    again = ask(face, [part, {"type": "text", "text": "And now?"}])
    assert watch.done() == (0, 0, 0)
    assert again.prompt_token_ids[:10] == first.prompt_token_ids[:10]


def test_S66_a_preview_tells_the_cost_of_every_page(llm: LLM) -> None:
    part = file(sheets(51, 52), dpi=72)
    messages: Any = [{"role": "user", "content": [part, WORDS]}]
    watch = Watch(llm)
    (told,) = llm.preview([messages])
    assert watch.done().decoded == 0
    assert [(item.message, item.part, item.page) for item in told.items] == [(0, 0, 1), (0, 0, 2)]
    answer = seen(OfflineFace(llm), part)
    assert told.prompt_tokens == len(answer.prompt_token_ids)
    assert sum(item.rows for item in told.items) == answer.media_tokens["image"]


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    (file(b"%PDF-1.7 nothing"), 422, "document_damaged", "content[0]"),
    (file(b"\0\1\2\xff"), 422, "unknown_document", "content[0]"),
    (file(sheets(1), pages="2"), 400, "page_out_of_range", "content[0]"),
    (file(sheets(1), pages="0"), 400, "invalid_pages", "content[0].pages"),
    (file(sheets(1), pages="1-2-3"), 400, "invalid_pages", "content[0].pages"),
    (file(sheets(1), pages=[1]), 400, "wrong_type", "content[0].pages"),
    (file(sheets(1), dpi=0), 400, "out_of_range", "content[0].dpi"),
    (file(sheets(1), dpi=72, pixels=1), 400, "contradicting_fields", "content[0].dpi"),
    (file(sheets(1), text="perhaps"), 400, "wrong_type", "content[0].text"),
    (file(sheets(1), text="only"), 422, "no_text_layer", "content[0]"),
    ({"type": "file"}, 400, "wrong_type", "content[0].file"),
    ({"type": "file", "file": {}}, 400, "missing_field", "content[0].file"),
    ({"type": "file", "file": {"file_data": "%%%"}}, 400, "invalid_base64", "content[0]"),
    (file(sheets(*range(7)), dpi=72), 400, "invalid_request", "content[0], page 7"),
    (file(pdfs.circular_pages()), 422, "page_damaged", "content[0]"),
]


@pytest.mark.parametrize(("part", "status", "code", "where"), BAD, ids=range(len(BAD)))
def test_S66_what_is_wrong_is_said_by_part_and_page(
    part: dict[str, Any], status: int, code: str, where: str, any_face: Face
) -> None:
    refused = refusal(any_face, [part, WORDS])
    assert (refused.status, refused.code) == (status, code)
    assert (refused.part or "") == f"messages[0].{where}"
    for secret in ("/dev/shm", "Traceback", "pdfium", "0x"):
        assert secret not in refused.text.lower()


def test_S66_input_video_is_a_clip(server: Server) -> None:
    face = HttpFace(server)
    data = clip(3)
    usual = {"type": "video_url", "video_url": {"url": data_url("video/mp4", data)}}
    spelled: list[dict[str, Any]] = [
        {"type": "input_video", "video_url": data_url("video/mp4", data)},
        {"type": "input_video", "video_url": {"url": data_url("video/mp4", data)}},
        {
            "type": "input_video",
            "input_video": {"data": base64.b64encode(data).decode(), "format": "mp4"},
        },
    ]
    wanted = seen(face, usual)
    for part in spelled:
        assert seen(face, part).token_ids == wanted.token_ids
