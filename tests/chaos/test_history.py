"""The judge of the chaos runs must see every way in which a stream can be wrong."""

import dataclasses

import pytest

from thespis.scripts.stress.chaos.oracle import stop_string
from thespis.scripts.stress.history import (
    Ended,
    Judgement,
    Leave,
    Record,
    Said,
    Want,
    describe,
    judge,
)

TOKENS = tuple(range(10, 30))
WANT = Want(TOKENS, "".join(map(chr, TOKENS)), "length", False)


def record(
    *parts: tuple[int, ...], choice: int = 0, finish: str = "length", logprobs: bool = False
) -> Record:
    """A stream of one choice in these pieces, ended well."""
    said = [
        Said(float(i), choice, p, "".join(map(chr, p)), len(p) * logprobs)
        for i, p in enumerate(parts)
    ]
    said.append(Said(9.0, choice, (), "", 0, finish))
    return Record("ask", "face", 0.0, said=said, ended=[Ended(10.0)])


def verdict(found: Record, *wants: Want) -> tuple[str, str]:
    judgement = judge(found, wants or (WANT,))
    return judgement.verdict, judgement.why


def test_a_whole_stream_is_kept_however_it_was_cut() -> None:
    assert verdict(record(TOKENS)) == ("kept", "")
    assert verdict(record(TOKENS[:1], TOKENS[1:7], TOKENS[7:])) == ("kept", "")


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((TOKENS[:8], TOKENS[9:]), "1 tokens missing at 8"),
        ((TOKENS[:8], TOKENS[12:]), "4 tokens missing at 8"),
        ((TOKENS[:15],), "5 tokens missing at the end"),
        ((TOKENS[:8], TOKENS[7:]), "1 tokens repeated at 8"),
        ((TOKENS[:8], TOKENS[3:]), "5 tokens repeated at 8"),
        ((TOKENS[:8], TOKENS[3:15]), "5 tokens repeated at 8"),
        ((TOKENS[:8], TOKENS[12:16], TOKENS[8:12], TOKENS[16:]), "reordered from 8 on"),
        ((TOKENS[:8], (99,), TOKENS[9:]), "another token at 8"),
        ((TOKENS[:19], (99,)), "another token at 19"),
        ((TOKENS, (99,)), "another token at 20"),
        ((), "20 tokens missing at the end"),
    ],
)
def test_wrong_tokens_are_seen_and_named(parts: tuple[tuple[int, ...], ...], why: str) -> None:
    assert verdict(record(*parts)) == ("diverged", why)


def test_where_it_diverged_is_told_for_the_search_for_ties() -> None:
    assert judge(record(TOKENS[:8], (99,), TOKENS[9:]), (WANT,)) == Judgement(
        "diverged", "another token at 8", 0, 8
    )


def test_an_end_must_come_exactly_once() -> None:
    whole = record(TOKENS)
    assert verdict(dataclasses.replace(whole, ended=[])) == ("lost", "no end")
    assert verdict(dataclasses.replace(whole, ended=[Ended(1.0), Ended(2.0)])) == (
        "diverged",
        "ended 2 times",
    )


def test_failures_are_losses_and_refusals_as_poison_are_told_apart() -> None:
    whole = record(TOKENS)
    assert verdict(dataclasses.replace(whole, ended=[Ended(1.0, "restarted")])) == (
        "lost",
        "restarted",
    )
    assert verdict(dataclasses.replace(whole, ended=[Ended(1.0, "hung")])) == ("lost", "hung")
    assert verdict(dataclasses.replace(whole, ended=[Ended(1.0, "poison")])) == ("poison", "poison")


def test_text_must_be_that_of_the_tokens() -> None:
    whole = record(TOKENS)
    whole.said[0] = whole.said[0]._replace(text=whole.said[0].text[1:])
    assert verdict(whole)[0] == "diverged"


def test_finish_reasons_come_once_and_last() -> None:
    assert verdict(record(TOKENS, finish="stop"))[1] == "finish reasons ['stop'] instead of length"
    early = record(TOKENS)
    early.said = [early.said[1], early.said[0]]
    assert verdict(early)[1] == "tokens after the end"
    endless = record(TOKENS)
    endless.said.pop()
    assert verdict(endless)[1] == "finish reasons [] instead of length"


def test_logprobs_are_counted() -> None:
    scored = WANT._replace(logprobs=True)
    assert verdict(record(TOKENS, logprobs=True), scored) == ("kept", "")
    assert verdict(record(TOKENS), scored)[1] == "0 log-probabilities for 20 tokens"
    assert verdict(record(TOKENS, logprobs=True))[1] == "20 log-probabilities for 20 tokens"


def left(*parts: tuple[int, ...], leave: Leave, ended: Ended) -> Record:
    """A stream whose caller left before its end."""
    found = record(*parts)
    found.said.pop()
    return dataclasses.replace(found, leave=leave, ended=[ended])


GOING, DEADLINE = Leave(8.0, "going"), Leave(8.0, "deadline")


@pytest.mark.parametrize(("leave", "error"), [(GOING, "left"), (DEADLINE, "deadline")])
def test_who_leaves_has_what_came_until_then(leave: Leave, error: str) -> None:
    end = Ended(8.0, error)
    assert verdict(left(TOKENS[:3], TOKENS[3:7], leave=leave, ended=end)) == ("cancelled", "")
    assert verdict(left(leave=leave, ended=end)) == ("cancelled", "")
    assert verdict(left(TOKENS[:3], TOKENS[4:7], leave=leave, ended=end)) == (
        "diverged",
        "another token at 3",
    )
    assert verdict(left(TOKENS, (99,), leave=leave, ended=end))[0] == "diverged"
    wrong_text = left(TOKENS[:7], leave=leave, ended=end)
    wrong_text.said[0] = wrong_text.said[0]._replace(text="b" * 7)
    assert verdict(wrong_text)[0] == "diverged"
    assert verdict(dataclasses.replace(record(TOKENS), leave=leave, ended=[end])) == (
        "cancelled",
        "",
    )
    assert (
        verdict(dataclasses.replace(record(TOKENS[:7]), leave=leave, ended=[end]))[0] == "diverged"
    )


def test_who_means_to_leave_may_have_his_whole_answer_before() -> None:
    assert verdict(dataclasses.replace(record(TOKENS), leave=Leave(11.0, "going"))) == ("kept", "")


def test_a_request_that_fails_before_its_caller_leaves_is_lost() -> None:
    assert verdict(left(TOKENS[:7], leave=GOING, ended=Ended(5.0, "restarted"))) == (
        "lost",
        "restarted",
    )
    assert verdict(left(TOKENS[:7], leave=GOING, ended=Ended(8.0, "deadline"))) == (
        "lost",
        "deadline",
    )
    assert verdict(
        dataclasses.replace(left(leave=GOING, ended=Ended(8.0, "left")), leave=None)
    ) == ("lost", "left")


def test_a_deadline_is_kept() -> None:
    assert (
        verdict(left(leave=DEADLINE, ended=Ended(6.0, "deadline")))[1]
        == "ended 2.0 s before its deadline"
    )
    assert (
        verdict(left(leave=DEADLINE, ended=Ended(28.0, "deadline")))[1]
        == "went on for 20.0 s without its caller"
    )
    assert (
        verdict(dataclasses.replace(record(TOKENS), leave=Leave(-5.0, "deadline")))[0] == "diverged"
    )


def test_who_leaves_is_told_of_one_end() -> None:
    twice = left(leave=GOING, ended=Ended(8.0, "left"))
    twice.ended.append(Ended(8.0, "left"))
    assert verdict(twice) == ("diverged", "ended 2 times")


def test_every_choice_is_judged() -> None:
    both = record(TOKENS)
    assert verdict(both, WANT, WANT)[1] == "20 tokens missing at the end"
    both.said += record(TOKENS, choice=1).said
    assert verdict(both, WANT, WANT) == ("kept", "")
    assert verdict(both, WANT)[1] == "choices that were not asked for: [1]"


def test_the_simplest_words() -> None:
    assert describe((1, 2, 3), (1, 2, 3, 4)) == "1 tokens missing at the end"
    assert describe((7, 7, 7), (7, 7, 7, 7)) == "1 tokens missing at the end"


def test_a_stop_string_comes_first_where_it_stops() -> None:
    assert stop_string("one two three four") == "hr"
    assert stop_string("ab" * 40) is None
