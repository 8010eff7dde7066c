"""preprocessor -> decode worker: one item, guide or conversation at a time."""

from typing import Any

from ..requests.guide import Guide
from ..requests.request import ChatPrompt, MediaItem, Modality
from ..wire import Message


class Decode(Message, frozen=True):
    """Decode one media item and make its features."""

    job: int
    item: MediaItem
    processor_kwargs: dict[str, Any]
    io_kwargs: dict[str, Any]
    key_salt: str
    """Tenant and fingerprints; part of the item's key."""
    look: bool = False
    """Read its headers and decode nothing: the answer has the layout and no features."""


class ReadDocument(Message, frozen=True):
    """Count a document's pages, and say what each of those that are wanted becomes."""

    job: int
    item: MediaItem
    processor_kwargs: dict[str, Any]
    """Of pictures, like the next."""
    io_kwargs: dict[str, Any]
    preview: bool = False
    """They need not fit into the model's context."""


class ReadText(Message, frozen=True):
    """Read the text of some of a document's pages."""

    job: int
    item: MediaItem
    numbers: tuple[int, ...]


class CheckGuide(Message, frozen=True):
    """Build a caller's guide once, here, where it can hurt nobody."""

    job: int
    guide: Guide


class RenderChat(Message, frozen=True):
    """Render and tokenise a conversation by its caller's template, which is a program."""

    job: int
    prompt: ChatPrompt
    modalities: tuple[Modality, ...]
    """Of the request's items."""


class FreeFeatures(Message, frozen=True):
    """The blobs of these jobs are not read any more."""

    jobs: tuple[int, ...]


class ForgetDocument(Message, frozen=True):
    """No page of the document that was drawn last will be asked for soon."""


PreprocessorToDecodeWorker = (
    Decode | FreeFeatures | ForgetDocument | CheckGuide | RenderChat | ReadDocument | ReadText
)
