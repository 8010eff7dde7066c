"""What callers saw of each request, and the judgement of it. Pure: no clock, no engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

Verdict = Literal["kept", "cancelled", "tie", "lost", "diverged", "poison", "excused"]
"""kept: as it would have been; cancelled: the same, so far as it came until its caller left;
excused: its own frontend was killed, or shared memory was full or no file to be had by intent."""
Way = Literal["going", "deadline"]
"""How a caller leaves: by hanging up or cancelling its task, or by the deadline that it gave."""
LEFT: dict[Way, str] = {"going": "left", "deadline": "deadline"}
"""The error with which such a request ends."""
LEAVE_SECONDS = 10.0
"""A request ends so soon after its caller has left; the machine may be busy."""
EARLY_SECONDS = 0.1
"""Two clocks: a deadline is of another one than the record's times."""

POISON_CODES = ("poison", "poisoned", "poison_request")


class Said(NamedTuple):
    """One delta of one choice, as a face gave it."""

    time: float
    choice: int
    token_ids: tuple[int, ...]
    text: str
    logprobs: int
    """Entries that came with it."""
    finish: str | None = None


class Ended(NamedTuple):
    """A terminal event: the end of a stream, or its failure."""

    time: float
    error: str | None = None
    """The failure's stable code; `hung`: nothing more came; `frontend`: the connection broke;
    `left`: the caller went away."""


class Leave(NamedTuple):
    """What the caller means to do, unless its answer is whole by then."""

    time: float
    way: Way


@dataclass
class Record:
    """Everything that happened to one request."""

    ask: str
    face: str
    submitted: float
    leave: Leave | None = None
    said: list[Said] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    @property
    def between(self) -> bool:
        """It has its first token and not its last."""
        return bool(self.said) and not self.ended


class Want(NamedTuple):
    """One choice as the oracle has it."""

    token_ids: tuple[int, ...]
    text: str
    finish: str | None
    """None: it has none, because its caller left before."""
    logprobs: bool


class Judgement(NamedTuple):
    verdict: Verdict
    why: str = ""
    choice: int = 0
    position: int = 0
    """Of the first token that differs."""


def judge(record: Record, wants: Sequence[Want]) -> Judgement:
    """`tie` is not given here: whether a difference is one, the oracle's logits say."""
    if not record.ended:
        return Judgement("lost", "no end")
    if len(record.ended) > 1:
        return Judgement("diverged", f"ended {len(record.ended)} times")
    error = record.ended[0].error
    if error in POISON_CODES:
        return Judgement("poison", error or "")
    cut = record.leave is not None and error == LEFT[record.leave.way]
    if error is not None and not cut:
        return Judgement("lost", error)
    if record.leave is not None:
        late = record.ended[0].time - record.leave.time
        if late > LEAVE_SECONDS:
            return Judgement("diverged", f"went on for {late:.1f} s without its caller")
        if cut and late < -EARLY_SECONDS:
            return Judgement("diverged", f"ended {-late:.1f} s before its deadline")
    strangers = {said.choice for said in record.said} - set(range(len(wants)))
    if strangers:
        return Judgement("diverged", f"choices that were not asked for: {sorted(strangers)}")
    for choice, want in enumerate(wants):
        mine = [said for said in record.said if said.choice == choice]
        found = _judge_choice(choice, mine, _part(want, mine) if cut else want)
        if found is not None:
            return found
    return Judgement("cancelled" if cut else "kept")


def _part(want: Want, mine: Sequence[Said]) -> Want:
    """What must have come of it where so much has come."""
    tokens, characters = (
        sum(len(said.token_ids) for said in mine),
        sum(len(said.text) for said in mine),
    )
    whole = any(said.finish is not None for said in mine)
    return (
        want
        if whole
        else want._replace(
            token_ids=want.token_ids[:tokens], text=want.text[:characters], finish=None
        )
    )


def _judge_choice(choice: int, mine: Sequence[Said], want: Want) -> Judgement | None:
    tokens = tuple(token for said in mine for token in said.token_ids)
    if tokens != want.token_ids:
        position = first_difference(tokens, want.token_ids)
        return Judgement("diverged", describe(tokens, want.token_ids), choice, position)
    if "".join(said.text for said in mine) != want.text:
        return Judgement("diverged", "the text is not that of its tokens", choice)
    ends = [said.finish for said in mine if said.finish is not None]
    if ends != ([want.finish] if want.finish is not None else []):
        return Judgement("diverged", f"finish reasons {ends} instead of {want.finish}", choice)
    if any(said.finish is not None and later.token_ids for said, later in pairwise(mine)):
        return Judgement("diverged", "tokens after the end", choice)
    count = sum(said.logprobs for said in mine)
    if count != (len(tokens) if want.logprobs else 0):
        return Judgement("diverged", f"{count} log-probabilities for {len(tokens)} tokens", choice)
    return None


def first_difference(got: Sequence[int], want: Sequence[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(got, want, strict=False)) if a != b),
        min(len(got), len(want)),
    )


def describe(got: Sequence[int], want: Sequence[int]) -> str:
    """How `got` came to differ from `want`, in the simplest words that explain it."""
    at = first_difference(got, want)
    rest_got, rest_want = list(got[at:]), list(want[at:])
    extra = len(rest_got) - len(rest_want)
    for size in (
        extra,
        *range(1, len(rest_got)),
    ):  # a repeat may push the last tokens out of the answer
        if (
            0 < size <= at + len(rest_got)
            and _agree(rest_got[size:], rest_want)
            and list(got[at - size : at]) == rest_got[:size]
        ):
            return f"{size} tokens repeated at {at}"
    if extra < 0 and not rest_got:
        return f"{-extra} tokens missing at the end"
    if extra < 0 and rest_want[-extra:] == rest_got:
        return f"{-extra} tokens missing at {at}"
    if extra == 0 and sorted(rest_got) == sorted(rest_want):
        return f"reordered from {at} on"
    return f"another token at {at}"


def _agree(got: list[int], want: list[int]) -> bool:
    """`got` goes on as `want` does, for as long as it lasts, and does last."""
    return bool(got) and got == want[: len(got)]
