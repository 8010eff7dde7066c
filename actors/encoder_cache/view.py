"""What the embedding store tells who watches the engine. Pure."""

from collections.abc import Iterable
from itertools import chain, islice

from ...protocol.edges.view import MOST_ITEMS, ItemSeen, Seen
from .entries import EmbeddingEntry


def seen(entries: dict[str, EmbeddingEntry], names: Iterable[Iterable[str]]) -> Seen:
    """`names`: of entries, what is in use and then what was used last."""
    first = dict.fromkeys(islice(chain.from_iterable(names), 4 * MOST_ITEMS))
    return Seen(items=tuple(_item_seen(entries[key]) for key in islice(first, MOST_ITEMS)))


def _item_seen(entry: EmbeddingEntry) -> ItemSeen:
    return ItemSeen(
        entry.key, entry.state.value, entry.nbytes, entry.hits, len(entry.holders),
        entry.modality, entry.rows,
    )  # fmt: skip
