"""Documents in every form that clients write, and their options."""

import base64
from typing import Any

import pytest

from thespis.frontends.inputs.documents import document_of, read_document_url
from thespis.frontends.inputs.media import Pending, filed
from thespis.frontends.inputs.parts import Rules, read_part
from thespis.frontends.inputs.python_media import read_raw
from thespis.frontends.inputs.unread import Unread
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.document import LAST, DocumentOptions, chosen, read_ranges
from thespis.protocol.requests.request import Slot, Url

PDF = b"%PDF-1.7 x"
B64 = base64.b64encode(PDF).decode()
URL = f"data:application/pdf;base64,{B64}"
WEB = "https://a.example/b.pdf"


def read(part: dict[str, Any], python: bool = False, told: Unread | None = None) -> Pending:
    media: list[Pending] = []
    rules = Rules(raw=read_raw) if python else Rules()
    assert read_part(part, "here", media, rules, told or Unread(strict=python)) == Slot(0)
    return media[0]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ({"type": "file", "file": {"file_data": URL, "filename": "a.pdf"}}, PDF),
        ({"type": "file", "file": {"file_data": B64}}, PDF),
        ({"type": "file", "file": {"file_data": WEB}}, Url(WEB)),
        ({"file": {"file_url": WEB}}, Url(WEB)),
        ({"type": "input_file", "file_data": URL, "filename": "a.pdf"}, PDF),
        ({"type": "input_file", "file_url": WEB}, Url(WEB)),
        ({"type": "input_file", "file_url": URL}, PDF),
        ({"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}}, filed("file-1")),
        ({"type": "input_file", "file_id": "file-1"}, filed("file-1")),
        ({"type": "document_url", "document_url": WEB}, Url(WEB)),
        ({"type": "document_url", "document_url": {"url": URL}}, PDF),
    ],
)
def test_forms(part: dict[str, Any], content: bytes | Url) -> None:
    told = Unread()
    item = read(part, told=told)
    assert (item.modality, item.content, item.where) == ("document", content, "here")
    assert item.document == DocumentOptions()
    assert told.told == []


def test_python_gives_bytes_and_programs_do_not() -> None:
    assert read({"type": "document", "document": PDF}, python=True).content == PDF
    for value in (B64, None, 7, b""):
        with pytest.raises(RequestError):
            read({"type": "document", "document": value}, python=True)
    with pytest.raises(RequestError, match="type `file`"):
        read({"type": "document", "document": B64})


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
def test_a_file_of_another_kind_is_what_its_url_says(kind: str) -> None:
    url = f"data:{kind}/x;base64,{base64.b64encode(b'abcd').decode()}"
    item = read({"type": "file", "file": {"file_data": url}})
    assert (item.modality, item.content, item.document) == (kind, b"abcd", None)


@pytest.mark.parametrize("inside", [False, True])
def test_options_stand_beside_the_type_or_within_the_file(inside: bool) -> None:
    said = {"pages": "1-3,7", "pixels": 1000, "text": True}
    file = {"file_data": URL, **(said if inside else {})}
    item = read({"type": "file", "file": file, **({} if inside else said)})
    assert item.document == DocumentOptions(((1, 3), (7, 7)), None, 1000, "beside")


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ({"pages": "3-1"}, "here.pages"),
        ({"pages": ""}, "here.pages"),
        ({"pages": "0"}, "here.pages"),
        ({"pages": "-3"}, "here.pages"),
        ({"pages": str(LAST + 1)}, "here.pages"),
        ({"pages": ",".join(["1"] * 257)}, "here.pages"),
        ({"pages": "1," * 100_000}, "here.pages"),
        ({"pages": True}, "here.pages"),
        ({"pages": ["1"]}, "here.pages"),
        ({"dpi": 0}, "here.dpi"),
        ({"dpi": float("nan")}, "here.dpi"),
        ({"dpi": "72"}, "here.dpi"),
        ({"dpi": 1201}, "here.dpi"),
        ({"dpi": True}, "here.dpi"),
        ({"pixels": 1.5}, "here.pixels"),
        ({"pixels": 1 << 40}, "here.pixels"),
        ({"pixels": -1}, "here.pixels"),
        ({"dpi": 72, "pixels": 9}, "here.dpi"),
        ({"text": "all"}, "here.text"),
        ({"text": 1}, "here.text"),
        ({"text": ["only"]}, "here.text"),
    ],
)
def test_options_that_are_none(said: dict[str, Any], at: str) -> None:
    with pytest.raises(RequestError) as refused:
        document_of(PDF, "here", said)
    assert refused.value.failure.part == at
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file"},
        {"type": "file", "file": "x"},
        {"type": "file", "file": {}},
        {"type": "file", "file": {"file_data": URL, "file_url": WEB}},
        {"type": "file", "file": {"file_data": 7}},
        {"type": "file", "file": {"file_data": ""}},
        {"type": "file", "file": {"file_data": "data:application/pdf,x"}},
        {"type": "input_file"},
        {"type": "input_file", "file_id": 7},
        {"type": "input_file", "file_id": "x" * 129},
        {"type": "input_file", "file_id": "x", "file_url": WEB},
        {"type": "input_file", "file_url": "ftp://x"},
        {"type": "document_url"},
    ],
)
def test_parts_that_are_none(part: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        read(part)
    assert (refused.value.failure.part or "").startswith("here")


def test_what_nobody_reads_is_told() -> None:
    told = Unread()
    read({"type": "file", "file": {"file_data": URL, "x": 1}, "uuid": "u", "dip": 3}, told=told)
    assert set(told.told) == {"here.uuid", "here.dip", "here.file.x"}


def test_ranges() -> None:
    assert read_ranges(" 1 - 3 , 7,12-", "x") == ((1, 3), (7, 7), (12, None))
    assert chosen((), 3, 9) == [1, 2, 3]
    assert chosen(((2, 3), (1, 1), (3, None)), 3, 9) == [2, 3, 1, 3]
    with pytest.raises(RequestError, match="no page 4: the document has 3 pages"):
        chosen(((2, 4),), 3, 9)
    with pytest.raises(RequestError, match="the document has 1 page"):
        chosen(((2, None),), 1, 9)
    with pytest.raises(RequestError, match="more than 2 pages"):
        chosen(((1, LAST),) * 200, LAST, 2)


def test_a_url_that_holds_its_data() -> None:
    assert read_document_url(URL, "here") == PDF
    assert read_document_url(WEB, "here") == Url(WEB)
