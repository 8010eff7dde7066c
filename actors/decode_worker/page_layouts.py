"""What a document's pages become, told before one of them is drawn: their pictures' sizes, and
what a picture of such a size takes of a prompt. Pages of one size are looked at once."""

from typing import NamedTuple

from PIL import Image

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, invalid, refuse
from ...protocol.requests.document import DocumentOptions, chosen, is_pdf
from ..jobs.options import SIBLINGS
from .documents import Size, count_pages, opened, page_size, picture_size, plain_text
from .item import LOOKED_AT, ItemDecoder, Made, Options


class FoundPage(NamedTuple):
    number: int
    size: Size
    layout: int
    """Which of the layouts it has."""


class Found(NamedTuple):
    """What is in a document."""

    pages: list[FoundPage]
    layouts: list[Made]
    text: str | None = None
    """All there is of a file of plain text."""


class PageSizes:
    """Of one document's pages, as one model sees them."""

    def __init__(
        self, decoder: ItemDecoder, processor: Options, io: Options, wanted: DocumentOptions
    ) -> None:
        self._decoder, self._wanted = decoder, wanted
        self._processor, self._io = processor, io
        self.layouts: list[Made] = []
        self._places: dict[Size, tuple[Size, int]] = {}

    def place(self, asked: Size) -> tuple[Size, int]:
        """The size that a picture is drawn in so that the model need not resize it, and its
        layout. Raises RequestError."""
        if asked not in self._places:
            size, made = self._fit(asked)
            self.layouts.append(made)
            self._places[asked] = self._places[size] = (size, len(self.layouts) - 1)
        return self._places[asked]

    def _fit(self, asked: Size) -> tuple[Size, Made]:
        made = self._look(asked)
        own = Size(made.look.resized_width or 0, made.look.resized_height or 0)
        if own in (asked, (0, 0)) or self._wanted.dpi or self._wanted.pixels:
            return asked, made
        again = self._look(own)
        stays = (again.look.resized_width, again.look.resized_height) == own
        return (own, again) if stays else (asked, made)

    def _look(self, size: Size) -> Made:
        hollow = Image.new("RGB", size, None)  # whose memory nobody has touched
        return self._decoder.picture(hollow, self._processor, self._io, LOOKED_AT)


def find_pages(
    data: bytes,
    decoder: ItemDecoder | None,
    processor: Options,
    io: Options,
    wanted: DocumentOptions,
    limits: MediaLimits,
    context: int | None,
    siblings: bool = False,
) -> Found:
    """`decoder`: None where no page is to be shown. `context`: tokens that there are for pages;
    None: they need not fit. `siblings`: a picture beside another one comes out otherwise. Raises
    RequestError."""
    if not is_pdf(data):
        if wanted.pages:
            text = "A file of plain text has no pages; leave out `pages`."
            raise invalid(text, code="invalid_pages")
        return Found([], [], plain_text(data))
    with opened(data) as document:
        numbers = chosen(wanted.pages, count_pages(document), limits.document_pages)
        if decoder is None:
            return Found([FoundPage(number, Size(0, 0), 0) for number in numbers], [])
        beside = {SIBLINGS: True} if siblings and len(numbers) > 1 else {}
        sizes = PageSizes(decoder, processor, {**io, **beside}, wanted)
        pages: list[FoundPage] = []
        tokens = 0
        for number in numbers:
            asked = picture_size(page_size(document, number), number, wanted, limits)
            try:
                size, layout = sizes.place(asked)
            except RequestError as error:
                raise _of_page(error, number) from error
            pages.append(FoundPage(number, size, layout))
            tokens += sizes.layouts[layout].item.tokens
            if context is not None and tokens > context:
                raise _beyond(pages, tokens, context)
        return Found(pages, sizes.layouts)


def _beyond(pages: list[FoundPage], tokens: int, context: int) -> RequestError:
    first, last = pages[0].number, pages[-1].number
    text = (
        f"Pages {first} to {last} take {tokens} tokens, the model's context is {context} tokens: "
        f"ask for fewer `pages`, or fewer `pixels` of each."
    )
    return invalid(text, code="context_length_exceeded")


def _of_page(error: RequestError, number: int) -> RequestError:
    failure = error.failure
    text = f"Page {number}: {failure.text}"
    return refuse(failure.kind, text, failure.part, failure.code)
