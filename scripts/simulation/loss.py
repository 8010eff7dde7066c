"""What a simulated fleet lost when replicas died, who noticed, and where what they had went."""

from collections.abc import Iterable

import msgspec

from .asking import Ask
from .figures import ms, part
from .fleet import NOTICED_SECONDS, Fleet


class Loss(msgspec.Struct, frozen=True):
    dead: int
    interrupted: int
    """Requests that were at the dead..."""
    interrupted_good: float
    """... of which so many were good all the same..."""
    pause_ms_p50: float
    """... and how long they stood still, or waited for the first token."""
    pause_ms_p99: float
    good_before: float
    """Of those who came before the death and did not meet it..."""
    good_after: float
    """... and of those who came behind it."""
    ttft_ms_p99_before: float
    ttft_ms_p99_after: float
    stayed_before: float
    """The part of the pictures that were sent before and went to the same replica as the last
    time."""
    stayed_after: float
    """The same behind the death, of those whose replica lives..."""
    moved: float
    """... and the part of all that had been sent before whose replica had died."""


def loss_of(fleet: Fleet) -> Loss | None:
    """None where nothing has died."""
    if not fleet.died:
        return None
    moment, patience = min(fleet.died.values()), fleet.plan.patience
    hurt = [ask for ask in fleet.asks if ask.resumed]
    before = [ask for ask in fleet.asks if ask.at < moment and not ask.resumed]
    after = [ask for ask in fleet.asks if ask.at >= moment and not ask.resumed]
    pauses = [max((*ask.gaps, (ask.first or 0.0) - ask.at)) for ask in hurt]
    stayed = _stayed(fleet, moment)
    return Loss(
        dead=len(fleet.died),
        interrupted=len(hurt),
        interrupted_good=part(sum(ask.pleased(patience) for ask in hurt), len(hurt)),
        pause_ms_p50=ms(pauses, 0.5),
        pause_ms_p99=ms(pauses, 0.99),
        good_before=part(sum(ask.pleased(patience) for ask in before), len(before)),
        good_after=part(sum(ask.pleased(patience) for ask in after), len(after)),
        ttft_ms_p99_before=ms(_firsts(before), 0.99),
        ttft_ms_p99_after=ms(_firsts(after), 0.99),
        stayed_before=part(stayed[False, True, True], _sent(stayed, False)),
        stayed_after=part(
            stayed[True, True, True], stayed[True, True, True] + stayed[True, True, False]
        ),
        moved=part(stayed[True, False, False], _sent(stayed, True)),
    )


_Counts = dict[tuple[bool, bool, bool], int]
"""Pictures sent again: (after the death, their replica lives, they went there)."""


def _stayed(fleet: Fleet, moment: float) -> _Counts:
    either = (False, True)
    counts = {(late, living, same): 0 for late in either for living in either for same in either}
    last: dict[str, int] = {}
    for ask in fleet.asks:
        if ask.went < 0:
            continue
        late = ask.at >= moment + NOTICED_SECONDS
        for picture in ask.pictures:
            if (there := last.get(picture.key)) is not None:
                living = not late or there not in fleet.died
                counts[late, living, there == ask.went] += 1
            last[picture.key] = ask.went
    return counts


def _sent(counts: _Counts, late: bool) -> int:
    return sum(count for key, count in counts.items() if key[0] == late)


def _firsts(asks: Iterable[Ask]) -> list[float]:
    return [ask.first - ask.at for ask in asks if ask.first is not None]


def loss_table(rows: Iterable[tuple[str, Loss | None]]) -> str:
    """As Markdown; "" where nothing has died."""
    heads = (
        "case", "dead", "interrupted", "of them good", "their pause p50 / p99 ms",
        "good before / after", "TTFT p99 before / after ms",
        "pictures that stay before / after", "pictures whose replica died",
    )  # fmt: skip
    lines = [
        "| " + " | ".join((
            name, f"{r.dead}", f"{r.interrupted}", f"{r.interrupted_good:.1%}",
            f"{r.pause_ms_p50:.0f} / {r.pause_ms_p99:.0f}",
            f"{r.good_before:.2%} / {r.good_after:.2%}",
            f"{r.ttft_ms_p99_before:.0f} / {r.ttft_ms_p99_after:.0f}",
            f"{r.stayed_before:.1%} / {r.stayed_after:.1%}", f"{r.moved:.1%}",
        )) + " |"
        for name, r in rows
        if r is not None
    ]  # fmt: skip
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *lines])
