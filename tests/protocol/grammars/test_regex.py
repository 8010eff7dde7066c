"""Callers' regular expressions: what the grammar engine gets matches the same texts, or the refusal
names the place."""

import contextlib
import re
from collections.abc import Iterator
from itertools import product
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thespis.protocol.grammars.regex import automaton
from thespis.protocol.grammars.regex.parse import PatternError
from thespis.protocol.grammars.regex.text import as_search, as_whole

TEXTS = ["".join(letters) for size in range(5) for letters in product("a1 ", repeat=size)]
_ATOM = st.sampled_from(
    ["a", "1", " ", ".", r"\w", r"\d", r"\s", r"\W", "[a ]", "[^a]", r"\b", r"\B", "^", "$"]
)


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map("".join),
        pair.map(lambda both: f"(?:{both[0]}|{both[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?"])).map(
            lambda both: f"(?:{both[0]}){both[1]}"
        ),
        inner.map(lambda one: f"(?={one})"),
        inner.map(lambda one: f"(?!{one})"),
        inner.map(lambda one: f"({one})"),
    )


_PLACE = st.sampled_from(
    ["^", "$", r"\A", r"\Z", r"\b", r"\B", "(?=a)", "(?!a)", "(?!$)", "(?=a|$)", "(?!^)"]
)
_TIMES = st.sampled_from(["{2}", "{3}", "{2,}", "{2,3}", "{0,2}", "+", "*", "?"])


def _repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Repetitions, one of whose alternatives takes no character where it is in the right place."""
    either = st.tuples(inner, st.one_of(_PLACE, inner)).map(lambda both: f"(?:{both[0]}|{both[1]})")
    return st.one_of(
        st.tuples(either, _TIMES).map("".join),
        st.tuples(inner, _PLACE, _TIMES).map(
            lambda parts: f"(?:{parts[0]}|{parts[1]}(?:{parts[0]})?){parts[2]}"
        ),
        st.tuples(inner, inner).map("".join),
    )


def matching(written: list[str], texts: list[str]) -> list[str]:
    """Those that match as they would for the grammar engine: all of what is written, end to end."""
    pythons = [
        re.compile(re.sub(r"\\u\{(\w+)\}", lambda found: f"\\U{int(found[1], 16):08x}", one))
        for one in written
    ]
    return [text for text in texts if all(python.fullmatch(text) for python in pythons)]


@pytest.fixture(scope="module")
def small_automata() -> Iterator[None]:
    """Others are written or refused after seconds, and then again for every step in which a failure
    is made small."""
    with patch.object(automaton, "MAX_STATES", 50), patch.object(automaton, "MAX_STEPS", 2_000):
        yield


@pytest.mark.usefixtures("small_automata")
@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.recursive(_ATOM, _wider, max_leaves=6), st.recursive(_ATOM, _repeated, max_leaves=3)
    )
)
@example("(?:a|^){2}").via(
    "the first is at the start, or is an `a`; the second is an `a`, or empty where the first was"
)
@example(r"(?:1|\b){3}").via("empty as often as there is a boundary")
@example(r"(?:(?:a|^){2}|$){2,3}").via("one inside another")
def test_what_is_written_matches_the_same_texts(pattern: str) -> None:
    for write, reference in ((as_whole, re.fullmatch), (as_search, re.search)):
        texts = [
            text for text in TEXTS if text or r"\B" not in pattern
        ]  # Python's \B knows no empty text
        expected = [text for text in texts if reference(pattern, text, re.ASCII)]
        try:
            written = write(pattern)
        except PatternError as error:
            if "no text" not in str(error):
                continue
            written = ["(?!)"]
        if (
            sum(map(len, written)) > 2_000
        ):  # Python compiles longer ones for seconds, and looks for more of them
            continue
        assert matching(written, texts) == expected, (pattern, written)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"\bfoo\b", ["foo", "a foo!"], ["food", "xfoo", ""]),
        (r"^\bfoo", ["foo", "food"], [" foo"]),
        (r"(?i)\Aabc\Z", ["ABC", "abc"], ["xabc"]),
        (r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", ["1", "+1.50", "007", ".5", "5."],
            ["", ".", "+", "-.", "1e5"]),
        (r"^(?=.*[A-Z])(?=.*\d).{8,64}$", ["Passw0rdPass"], ["password1", "Pw1"]),
        (r"^((?!bad).)*$", ["good", "ba d"], ["bad", "xbady"]),
        (r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$",
         ["a.b@c.de", "x@y-z.org"], [".a@b.de", "a..b@c.de", "a@b"]),
        (r"[[:alpha:]_]{2}", ["a_", "1ab"], ["a", "1"]),
        (r"^[]a-]+$", ["]", "a-"], ["b"]),
        (r"^\x41\u00e9\u{1F600}\ud83d\ude00\cA$", ["Aé😀😀\x01"], ["A"]),
        (r"^a{,2}{x}$", ["a{x}", "{x}"], ["aaa{x}"]),
        (r"a$|^b", ["xa", "bx"], ["xbx", "ax"]),
        (r"^(?<n>\d)(?:x(?#no x))?$", ["1", "1x"], ["x"]),
        ("^a/b\n$", ["a/b\n"], ["a/b"]),
    ],
)  # fmt: skip
def test_what_people_write(pattern: str, good: list[str], bad: list[str]) -> None:
    written = as_search(pattern)
    assert matching(written, good + bad) == good


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"ab(c)\1", "back-reference"), (r"x(?P=n)", "back-reference"),
        (r"\k<n>", "back-reference"),
        (r"(?<=a)b", "look-behind"),
        (r"(?<!a)b", "look-behind"), (r"(?>a)", "atomic"), (r"a++", "possessive"),
        (r"(?(1)a)", "conditional"),
        (r"(?R)", "recursion"), (r"(?m)^a", "flag `m`"), (r"(?x) a", "flag `x`"),
        (r"\q", r"escape `\q`"),
        (r"\Ga", r"escape `\G`"),
        (r"(a", "nothing closes"), (r"a)", "nothing opens"), (r"[a", "nothing closes"),
        (r"*a", "nothing to repeat"),
        (r"a**", "behind a quantifier"), (r"a{3,1}", "at least 3"), (r"[z-a]", "backwards"),
        (r"a{9999999}", "a million"),
        ("a\\", "too early"), (r"\u12", "digits"), (r"\p{", "property"), (r"x^a", "no text"),
        (r"a\bb", "no text"),
        (r"^(?:\p{L}+\b)", "property"), (r"(?*a)", "flag"), (r"(*FAIL)", "control verb"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named_with_its_place(pattern: str, words: str) -> None:
    for write in (as_whole, as_search):
        with pytest.raises(PatternError, match=re.escape(words)):
            write(pattern)


def test_places_are_counted_in_the_callers_own_text() -> None:
    with pytest.raises(PatternError, match="at its character 13"):
        as_whole("line\nab/é(c)\\1")


@pytest.mark.parametrize("pattern",
    [r"(?=a)" * 500, r"\b.{1,5000}\b", "(?:a?){40}\\b" * 20, r"^(?=(?:.{1,300}x){1,300}).*$",
                                     "(?!" * 60 + "a" + ")" * 60,
                                     r"(?:(?!a)|(?!b))*" * 30])  # fmt: skip
def test_an_expression_that_would_grow_without_end_is_refused_or_written_soon(pattern: str) -> None:
    for write in (as_whole, as_search):
        with contextlib.suppress(PatternError):
            assert sum(map(len, write(pattern))) < 400_000
