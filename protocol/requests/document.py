"""What a caller says of a document: which of its pages, how large, and whether its text goes into
the prompt. Pure."""

import re
from typing import Literal

import msgspec

from ..errors import invalid

MOST_RANGES = 256
"""In one list of pages."""
LAST = 10**6
"""No page has a higher number."""
HEAD = 1024
"""Bytes in which a PDF's name may be found."""
_RANGE = re.compile(r"\s*(\d{1,7})\s*(-\s*(\d{1,7})?\s*)?")

TextLayer = Literal["none", "beside", "only"]
"""Of the text that a page holds as text: left out, behind the page's picture, or in its place."""
PageRange = tuple[int, int | None]
"""(first, last), counted from 1; last None: to the end."""


def is_pdf(data: bytes) -> bool:
    """By its first `HEAD` bytes; what is none is text."""
    return b"%PDF-" in data[:HEAD]


class DocumentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one document."""

    pages: tuple[PageRange, ...] = ()
    """In the caller's order; (): all."""
    dpi: float | None = None
    """Pixels of a page's picture per inch; else it has about `pixels`."""
    pixels: int | None = None
    """None: as many as suit the model."""
    text: TextLayer = "none"


def read_ranges(given: str, where: str) -> tuple[PageRange, ...]:
    """Of "1-3,7,12-". Raises RequestError."""
    found: list[PageRange] = []
    for piece in given.split(",", MOST_RANGES + 1):
        match = _RANGE.fullmatch(piece)
        first = int(match[1]) if match else 0
        last = None if match is None or match[3] is None else int(match[3])
        if match is None or not 1 <= first <= LAST or (last is not None and last < first):
            text = "`pages` names pages from 1 on, in rising ranges: '1-3,7', or '12-' to the end."
            raise invalid(text, where, "invalid_pages")
        found.append((first, first if match[2] is None else last))
    if len(found) > MOST_RANGES:
        raise invalid(f"`pages` takes at most {MOST_RANGES} ranges.", where, "invalid_pages")
    return tuple(found)


def chosen(ranges: tuple[PageRange, ...], count: int, most: int) -> list[int]:
    """Numbers of the pages that are wanted of a document of `count` pages. Raises RequestError
    where there are none such, or more than `most`."""
    numbers: list[int] = []
    for first, last in ranges or ((1, None),):
        if first > count or (last or count) > count:
            missing = first if first > count else last
            pages = "1 page" if count == 1 else f"{count} pages"
            text = f"There is no page {missing}: the document has {pages}. Ask for pages up to it."
            raise invalid(text, code="page_out_of_range")
        numbers += range(first, (last or count) + 1)
        if len(numbers) > most:
            what = "has" if not ranges else "is asked for"
            text = (
                f"The document {what} more than {most} pages, as many as one may bring; choose "
                f"some with `pages`, such as '1-{most}'."
            )
            raise invalid(text, code="too_many_pages")
    return numbers
