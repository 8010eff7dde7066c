"""What the processes of an engine have done, by their own counters: the proof that something was
not done twice."""

from typing import NamedTuple

from thespis import LLM


class Work(NamedTuple):
    """Since the engine's start, or between two moments."""

    downloads: int
    decoded: int
    encoded: int


NEW = {"encoded_items": 0}


def work_of(llm: LLM) -> Work:
    stats = llm.status().stats
    decoded = sum(
        counters["decoded"] for role, counters in stats.items() if role.startswith("decode-worker")
    )
    return Work(
        int(stats["fetcher"]["downloads"]),
        int(decoded),
        int(stats.get("encoder-cache", NEW)["encoded_items"]),  # it may be coming back
    )


class Watch:
    """`watch = Watch(llm)`, do something, `watch.done()`."""

    def __init__(self, llm: LLM) -> None:
        self._llm, self._before = llm, work_of(llm)

    def done(self) -> Work:
        after = work_of(self._llm)
        return Work(*(now - then for now, then in zip(after, self._before, strict=True)))
