"""Documents give way to what they hold: pictures of their pages, and texts, stand in their places
among the parts of the messages. Pure."""

from typing import NamedTuple

import msgspec

from ...protocol.edges.decode_worker_to_preprocessor import Decoded, DocumentRead, PageFound
from ...protocol.errors import RequestError, invalid, refuse
from ...protocol.requests.document import DocumentOptions
from ...protocol.requests.request import ChatPrompt, Encoded, MediaItem, Page, Request, Slot, Text
from .pending_request import Document


class Expanded(NamedTuple):
    request: Request
    """Without documents."""
    pages: dict[int, Decoded]
    """By index of a page's picture: what is known of it."""
    digests: dict[int, str]
    """By the same: of the document."""


def has_documents(request: Request) -> bool:
    return any(item.modality == "document" for item in request.media)


def expand(request: Request, documents: dict[int, Document], hasher: str) -> Expanded:
    """`hasher`: of the documents' digests. Raises RequestError for one of which nothing is left."""
    prompt = request.prompt
    if not isinstance(prompt, ChatPrompt):
        raise _in_chats_only(request)
    media: list[MediaItem] = []
    parts: list[list[Text | Slot]] = []
    pages: dict[int, Decoded] = {}
    digests: dict[int, str] = {}
    for index, item in enumerate(request.media):
        if item.modality != "document":
            parts.append([Slot(len(media))])
            media.append(item)
            continue
        document = documents[index]
        found, wanted = document.found, item.document or DocumentOptions()
        assert found is not None
        if found.text is not None or wanted.text == "only":
            parts.append([Text(_whole_text(item, found, document.texts))])
            continue
        shown: list[Text | Slot] = []
        for page in found.pages:
            pages[len(media)] = found.layouts[page.layout]
            digests[len(media)] = found.digest
            shown.append(Slot(len(media)))
            media.append(_picture(item, page, f"{hasher}:{found.digest}"))
            if text := document.texts.get(page.number):
                shown.append(Text(f"\n{text}\n"))
        parts.append(shown)
    messages = tuple(
        msgspec.structs.replace(message, content=_with_pages(message.content, parts))
        for message in prompt.messages
    )
    changed = msgspec.structs.replace(
        request, media=tuple(media), prompt=msgspec.structs.replace(prompt, messages=messages)
    )
    return Expanded(changed, pages, digests)


def place_of(document: str, number: int) -> str:
    """How a page is called to its caller."""
    return f"{document}, page {number}"


def _picture(item: MediaItem, page: PageFound, digest: str) -> MediaItem:
    """`digest`: of the document."""
    assert isinstance(item.source, Encoded)
    return MediaItem(
        modality="image",
        source=Page(item.source.blob, page.number, page.width, page.height),
        where=place_of(item.where, page.number),
        options=item.options,
        digest=digest,
    )


def _with_pages(
    content: tuple[Text | Slot, ...], parts: list[list[Text | Slot]]
) -> tuple[Text | Slot, ...]:
    found: list[Text | Slot] = []
    for part in content:
        named = isinstance(part, Slot) and 0 <= part.index < len(parts)
        found += parts[part.index] if isinstance(part, Slot) and named else [part]
    return tuple(found)


def _whole_text(item: MediaItem, found: DocumentRead, texts: dict[int, str]) -> str:
    """Raises RequestError where there is none."""
    if found.text is not None:
        if not found.text.strip():
            raise invalid("The document is empty.", item.where, "document_empty")
        return found.text
    whole = "\n\n".join(filter(None, (texts[page.number] for page in found.pages)))
    if not whole:
        text = (
            "The pages hold no text, as those of a scan do not: leave out `text`, so that they "
            "are sent as pictures."
        )
        raise refuse("unprocessable_media", text, item.where, "no_text_layer")
    return whole


def _in_chats_only(request: Request) -> RequestError:
    where = next(item.where for item in request.media if item.modality == "document")
    return invalid(
        "A document comes in the messages of a conversation: how many items a prompt needs for it "
        "is not known before it is read.",
        where,
    )
