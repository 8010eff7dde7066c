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

MediaJob: TypeAlias = Decode | ReadDocument | ReadText
Job: TypeAlias = MediaJob | CheckGuide | RenderChat

WALL = 1.5
"""Seconds of wall clock for each of CPU time that an item may take. The worker ends it itself,
where its decoder lets it; after these it is killed."""
GUIDE_SECONDS = 15.0
"""Wall clock for one guide in a worker, which may have to read the vocabulary first; beyond it the
worker is killed."""
RENDER_SECONDS = 8.0
"""Wall clock for one conversation by its caller's template. A worker ends one itself after its CPU
time, unless a single operation holds it."""


def cpu_seconds(job: MediaJob, limits: MediaLimits) -> float:
    """CPU time that it may take. A few bytes can say that a page draws itself in each of many
    places, and everybody else's items wait meanwhile: so a page gets much less than a clip."""
    match job:
        case Decode(item=MediaItem(source=Page() as page)):
            return limits.page_cpu_seconds(page.width * page.height)
        case ReadText():
            return limits.page_cpu_seconds(0)
        case ReadDocument():
            return limits.cpu_seconds("image")
        case Decode(item=item):
            return limits.cpu_seconds(item.modality)


def too_slow(job: MediaJob, limits: MediaLimits) -> Failure:
    seconds, modality = f"{cpu_seconds(job, limits):.3g} s", job.item.modality
    match job:
        case Decode(item=MediaItem(source=Page())):
            text = (
                f"The page takes longer than {seconds} to draw; leave it out with `pages`, or "
                f"send a picture of it."
            )
        case ReadText(numbers=numbers):
            first, last = min(numbers), max(numbers)
            pages = f"pages {first} to {last}" if first < last else f"page {first}"
            text = (
                f"The text of {pages} takes longer than {seconds} to read; leave out `text`, or "
                f"choose others with `pages`."
            )
        case _:
            what = {"image": "picture", "audio": "sound"}.get(modality, modality)
            text = (
                f"The {what} takes longer than {seconds} to decode; send a smaller or simpler one."
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
            seconds = WALL * cpu_seconds(job, limits)
            return Limits(seconds, too_slow(job, limits), poison(item.modality))


def poison(modality: Modality) -> Failure:
    text = f"The {modality} cannot be decoded: it ended the decoder twice."
    return Failure("unprocessable_media", text, code="poison")
