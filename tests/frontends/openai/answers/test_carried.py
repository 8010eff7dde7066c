"""An answer that another engine goes on with is the same, wherever it was cut."""

import json
from typing import Any

import pytest

from thespis.frontends.client.stream import Choice, Update
from thespis.frontends.openai.answers.carried import Carried, Given, SoFar
from thespis.frontends.openai.answers.writer import AnswerOptions
from thespis.frontends.openai.completions.writer import CompletionWriter
from thespis.frontends.ray.edge import encode, so_far_of
from thespis.protocol.edges.detokenizer_to_client import Logprob, PositionLogprobs

TOKENS = [
    ("a", b"a", "a"), ("\ufffd", b"\xc3", ""), ("\ufffd", b"\xa9", "é"),
    ("\ufffd", b"\xf0\x9f", ""), ("\ufffd\ufffd", b"\x98\x80", "😀"), ("xy", b"xy", ""),
    ("z", b"z", "xyz"), ("", b"", ""),
]  # fmt: skip
"""Decoded alone, its bytes, and what of the text comes with it: halves of characters, a text that
waits for its stop string, a special token."""


def updates() -> list[Update]:
    """Of two choices in turn."""
    found = []
    for id, (alone, raw, text) in enumerate(TOKENS):
        position = PositionLogprobs(Logprob(id, -0.5, 1, alone, raw), ())
        found += [Update([Choice(index, text, [id], [position])]) for index in (0, 1)]
    return found


def writer(**more: Any) -> CompletionWriter:
    options = AnswerOptions(created=1, arrival=1.0, model="m", n=2, logprobs=0, **more)
    made = CompletionWriter("r", options, lambda ids: "")
    made.first(0, (), 0)
    return made


def carried(so_far: SoFar | None = None) -> Carried:
    made = Carried(so_far)
    if so_far is None:
        made.so_far.sources[0] = Given(7, "digest", [Choice(0), Choice(1)])
    return made


def told(to: CompletionWriter, by: Carried, news: list[Update], known: SoFar) -> list[Any]:
    """The choices that a caller gets, of which all is noted as its door does it."""
    found = []
    for update in news:
        events = to.events(0, update)
        by.note(0, update, len(events))
        mark = by.marks.popleft()
        passed = so_far_of(encode(mark.news))
        assert passed is not None
        known.add(passed)
        for event in events.decode().split("\n\n")[:-1]:
            found += json.loads(event.removeprefix("data: "))["choices"]
    return found


@pytest.mark.parametrize("more", [{}, {"echo": ("before",)}, {"tokens_as_ids": True}])
def test_offsets_go_on_where_a_token_was_half_a_character(more: dict[str, Any]) -> None:
    whole = told(writer(**more), carried(), updates(), SoFar("r", 1, "", {}))
    for cut in range(1, len(whole)):
        first, known = carried(), SoFar("r", 1, "", {})
        begun = told(writer(**more), first, updates()[:cut], known)
        so_far = so_far_of(encode(known))
        assert so_far is not None
        another, second = writer(**more), Carried(so_far)
        second._begun.add(0)
        another.events(0, Update(so_far.sources[0].choices))
        assert begun + told(another, second, updates()[cut:], known) == whole
