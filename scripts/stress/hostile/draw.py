"""Which case a number is: the seed and the number alone decide, so that any case can be put again
by itself."""

from collections.abc import Callable
from random import Random

from .answers import draw_answers
from .bodies import draw_bodies, draw_fields
from .dialects import draw_dialects
from .documents import draw_documents
from .embeds import draw_embeds
from .guides import draw_guides
from .media import draw_media
from .raw import draw_raw
from .responses import draw_responses
from .scores import draw_scores
from .shot import Shot
from .sounds import draw_sounds
from .stored import draw_stored
from .templates import draw_templates

KINDS: dict[str, tuple[int, Callable[[Random, int], Shot]]] = {
    "body": (11, draw_bodies),
    "fields": (8, draw_fields),
    "media": (10, draw_media),
    "document": (6, draw_documents),
    "template": (8, draw_templates),
    "guide": (8, draw_guides),
    "answer": (7, draw_answers),
    "raw HTTP": (10, draw_raw),
    "embeddings": (6, draw_embeds),
    "stored": (6, draw_stored),
    "sounds": (5, draw_sounds),
    "other APIs": (6, draw_dialects),
    "responses": (4, draw_responses),
    "scores": (5, draw_scores),
}
"""By name: its share of all cases, in percent, and what draws one with the size of the largest body
in bytes."""


def kind_of(seed: int, number: int) -> str:
    return _random(seed, number).choices(list(KINDS), [share for share, _ in KINDS.values()])[0]


def draw(seed: int, number: int, biggest: int) -> tuple[str, Shot]:
    """The case of this number, and its kind."""
    kind = kind_of(seed, number)
    return kind, KINDS[kind][1](Random(f"{seed} {number} {kind}"), biggest)


def _random(seed: int, number: int) -> Random:
    return Random(f"{seed} {number}")
