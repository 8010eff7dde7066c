"""The kinds of work that a decode worker is given: how long each may take, and what is said of one
that ends it. Pure."""

from typing import NamedTuple, TypeAlias

from ...protocol.config.roles import MediaLimits
from ...protocol.edges.preprocessor_to_decode_worker import (
    CheckGuide,
    Decode,
    ReadDocument,
    ReadText,
    RenderChat,
)
from ...protocol.errors import Failure
from ...protocol.requests.request import MediaItem, Modality, Page
from ..prompting.prompt import TEMPLATE_TOO_LARGE, TEMPLATE_TOO_SLOW
from .guides import TOO_LARGE, TOO_SLOW

Job: TypeAlias = Decode | CheckGuide | RenderChat | ReadDocument | ReadText

WALL = 1.5
"""Seconds of wall clock for each of CPU time that an item may take. The worker ends it itself,
where its decoder lets it; after these it is killed."""
GUIDE_SECONDS = 15.0
"""Wall clock for one guide in a worker, which may have to read the vocabulary first; beyond it the
worker is killed."""
RENDER_SECONDS = 8.0
"""Wall clock for one conversation by its caller's template. A worker ends one itself after its CPU
time, unless a single operation holds it."""


def too_slow(item: MediaItem, seconds: float) -> Failure:
    what = {"image": "picture", "audio": "sound"}.get(item.modality, item.modality)
    text = f"The {what} takes longer than {seconds:g} s to decode; send a smaller or simpler one."
    if isinstance(item.source, Page):
        text = (
            f"The page takes longer than {seconds:g} s to draw; leave it out with `pages`, or send "
            f"a picture of it."
        )
    return Failure("unprocessable_media", text, code="decode_timeout")


class Limits(NamedTuple):
    """Of one piece of work."""

    seconds: float
    """Of wall clock, after which its worker is killed."""
    overrun: Failure
    """What is said then."""
    deadly: Failure
    """What is said when it killed two workers: it is not tried on a third."""


def limits_of(job: Job, limits: MediaLimits) -> Limits:
    match job:
        case RenderChat():
            return Limits(RENDER_SECONDS, TEMPLATE_TOO_SLOW, TEMPLATE_TOO_LARGE)
        case CheckGuide():
            return Limits(GUIDE_SECONDS, TOO_SLOW, TOO_LARGE)
        case Decode(item=item) | ReadDocument(item=item) | ReadText(item=item):
            seconds = limits.cpu_seconds(item.modality)
            slow = too_slow(item, seconds)
            return Limits(WALL * seconds, slow, poison(item.modality))


def poison(modality: Modality) -> Failure:
    text = f"The {modality} cannot be decoded: it ended the decoder twice."
    return Failure("unprocessable_media", text, code="poison")
