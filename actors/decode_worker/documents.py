"""Documents by PDFium: how many pages, how large, one page as a picture, its text. Nothing that a
document asks for is done: forms stay as they are drawn, and no action, script, embedded file or
reference is looked at."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from PIL.Image import Image

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, invalid, too_large, undecodable
from ...protocol.requests.document import DocumentOptions

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

USUAL_PIXELS = 1 << 20
"""Of a page's picture, where nobody says: print of the usual size on A4 can be read."""
USUAL_DPI = 200
"""Beyond which a small page is not enlarged."""
POINTS = 72
"""In an inch: the unit of a PDF."""
MOST_SIDE = 1 << 15
"""Pixels of a side."""
MOST_TEXT = 1 << 18
"""Characters of one page."""
DAMAGED = (
    "The document is damaged or cut off: open it in a viewer and save it as PDF anew, or send "
    "its pages as pictures."
)
ENCRYPTED = "The document opens with a password only; save it without one."
STRANGE = "The document is protected in a way that is not read; save it without protection."
NEITHER = (
    "The document is neither a PDF nor plain text (UTF-8): save it as one of them, or send "
    "pictures of its pages."
)
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


class Size(NamedTuple):
    width: int
    height: int
    """Pixels."""


def plain_text(data: bytes) -> str:
    """Of a document that is no PDF. Raises RequestError."""
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise undecodable(NEITHER, code="unknown_document") from None
    if "\0" in text:
        raise undecodable(NEITHER, code="unknown_document")
    return cleaned(text)


def cleaned(text: str) -> str:
    """With line feeds alone, and no control characters."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@contextmanager
def opened(data: bytes) -> Iterator["PdfDocument"]:
    """Raises RequestError."""
    import pypdfium2
    from pypdfium2 import raw

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        match getattr(error, "err_code", None):
            case raw.FPDF_ERR_PASSWORD:
                raise undecodable(ENCRYPTED, code="document_encrypted") from None
            case raw.FPDF_ERR_SECURITY:
                raise undecodable(STRANGE, code="document_encrypted") from None
            case _:
                raise undecodable(DAMAGED, code="document_damaged") from None
    try:
        yield document
    finally:
        document.close()


def count_pages(document: "PdfDocument") -> int:
    """Raises RequestError where there is none."""
    count = len(document)
    if count < 1:
        raise undecodable("The document has no pages.", code="document_empty")
    return count


def page_size(document: "PdfDocument", number: int) -> tuple[float, float]:
    """Width and height in points, as it is shown. Raises RequestError."""
    from pypdfium2 import PdfiumError

    try:
        width, height = document.get_page_size(number - 1)
    except PdfiumError:
        raise damaged_page(number) from None
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise damaged_page(number)
    return width, height


def picture_size(
    points: tuple[float, float], number: int, options: DocumentOptions, limits: MediaLimits
) -> Size:
    """Of a page's picture, in pixels, before the model is asked. Raises RequestError."""
    width, height = points
    if options.dpi is not None:
        scale = options.dpi / POINTS
    else:
        # by logarithms: an area may lie beyond floats
        wanted = options.pixels or USUAL_PIXELS
        scale = math.exp((math.log(wanted) - math.log(width) - math.log(height)) / 2)
        if options.pixels is None:
            scale = min(scale, USUAL_DPI / POINTS)
    wide, high = width * scale, height * scale
    if max(wide, high) > MOST_SIDE or wide * high > limits.pixels:
        how = "lower `dpi`" if options.dpi is not None else "fewer `pixels`"
        if max(wide, high) > MOST_SIDE and options.dpi is None:
            how = "other pages: it is too long and narrow"
        raise too_large(
            f"Page {number} would be a picture of {wide:.0f}x{high:.0f} pixels; at most "
            f"{limits.pixels} are taken, and {MOST_SIDE} of a side. Ask for {how}.",
            code="page_too_large",
        )
    return Size(max(1, round(wide)), max(1, round(high)))


def draw(data: bytes, number: int, size: Size, background: tuple[int, int, int]) -> Image:
    """RGB. Raises RequestError."""
    import pypdfium2
    from pypdfium2 import raw

    with opened(data) as document:
        if number > count_pages(document):
            raise invalid(f"There is no page {number}.", code="page_out_of_range")
        page = _page(document, number)
        bitmap = pypdfium2.PdfBitmap.new_native(*size, raw.FPDFBitmap_BGR, rev_byteorder=True)
        try:
            bitmap.fill_rect((*background, 255), 0, 0, *size)
            flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
            raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, *size, 0, flags)
            picture: Image = bitmap.to_pil().copy()
            return picture
        finally:
            bitmap.close()
            page.close()


def texts_of(data: bytes, numbers: tuple[int, ...]) -> list[str]:
    """What each page holds as text. Raises RequestError."""
    with opened(data) as document:
        count = count_pages(document)
        if (number := max(numbers)) > count:
            raise invalid(f"There is no page {number}.", code="page_out_of_range")
        return [_text(document, number) for number in numbers]


def _text(document: "PdfDocument", number: int) -> str:
    page = _page(document, number)
    try:
        text = page.get_textpage()
        try:
            characters = text.count_chars()
            if characters > MOST_TEXT:
                raise too_large(
                    f"Page {number} has {characters} characters of text; at most {MOST_TEXT} are "
                    "taken. Leave out `text`, or that page.",
                    code="page_too_large",
                )
            return cleaned(text.get_text_range()).strip() if characters > 0 else ""
        finally:
            text.close()
    finally:
        page.close()


def _page(document: "PdfDocument", number: int) -> "PdfPage":
    from pypdfium2 import PdfiumError

    try:
        return document[number - 1]
    except (PdfiumError, IndexError):
        raise damaged_page(number) from None


def damaged_page(number: int) -> RequestError:
    text = f"Page {number} is damaged and cannot be read: leave it out with `pages`."
    return undecodable(text, code="page_damaged")
