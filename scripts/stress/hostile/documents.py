"""PDFs that are damaged, costly or full of wishes, in every form that a document may have, with
options that are none."""

import base64
from random import Random
from typing import Any

from thespis.tests.helpers import hostile_pdfs, pdfs

from .files import harmed
from .shot import CHAT, SECONDS, Shot, chat, data_url, post

_OPTIONS: tuple[dict[str, Any], ...] = (
    {"pages": "1"}, {"pages": "2-"}, {"pages": "1-1000000"}, {"pages": "0"}, {"pages": "-1"},
    {"pages": "1," * 5000}, {"pages": "9" * 5000}, {"pages": []}, {"pages": {"a": 1}},
    {"pages": "١"}, {"dpi": 1e300}, {"dpi": -1}, {"dpi": 1200}, {"dpi": "72"}, {"dpi": True},
    {"pixels": 1}, {"pixels": 1 << 62}, {"pixels": 0.5}, {"dpi": 72, "pixels": 9},
    {"text": True}, {"text": "only"}, {"text": "x"}, {"text": 1}, {"text": [[]]}, {"nothing": 1},
)  # fmt: skip
_MARKER = "http://127.0.0.1:1/never"


SECONDS_OF_A_PAGE = 0.1
"""That an honest page may take beside everything else: drawn, encoded and read by the model."""


def draw_documents(draw: Random, biggest: int) -> Shot:
    pages = 0
    match draw.randrange(8):
        case 0 | 1:
            what = draw.choice(list(hostile_pdfs.CASES))
            data = hostile_pdfs.made(what)
        case 2:
            what, data = "a document with wishes", pdfs.active(_MARKER)
        case 3:
            pages = draw.choice((1, 7, 40, 400))
            what, data = f"{pages} pages", pdfs.of_texts(["x"] * pages)
        case 4:
            what, data = "no document", draw.randbytes(draw.randrange(5000))
        case _:
            sound = pdfs.of_texts(["Hello", "World"]) if draw.random() < 0.5 else pdfs.active("x")
            what, data = harmed(draw, sound)
    part = _part(draw, data)
    if draw.random() < 0.5:
        part |= draw.choice(_OPTIONS)
    body = chat([part, {"type": "text", "text": "What is it?"}])
    if draw.random() < 0.2:
        body["stream"] = True
    named = f"PDF: {what} ({len(data):,} bytes) as {part.get('type')}"
    return post(named, CHAT, body, SECONDS + SECONDS_OF_A_PAGE * pages)


def _part(draw: Random, data: bytes) -> dict[str, Any]:
    url, bare = data_url("application/pdf", data), base64.b64encode(data).decode()
    forms: tuple[dict[str, Any], ...] = (
        {"type": "file", "file": {"file_data": url, "filename": "../../a\0.pdf"}},
        {"type": "file", "file": {"file_data": url}},
        {"type": "file", "file": {"file_data": bare}},
        {"type": "input_file", "file_data": url},
        {"type": "document_url", "document_url": {"url": url}},
        {"type": "file", "file": {"file_data": url, "file_url": url}},
        {"type": "file", "file": {"file_url": draw.choice((_MARKER, "file:///etc/passwd", ""))}},
        {"type": "file", "file": draw.choice(([], None, "x", {}, {"file_data": []}))},
        {"type": "document", "document": bare},
        {"type": "image_url", "image_url": {"url": url}},
    )
    return draw.choice(forms[:5] if draw.random() < 0.7 else forms)
