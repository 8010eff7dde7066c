from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.detokenizer.stops import StopFinder

stop_strings = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4).map(tuple)
pieces = st.lists(st.text("abcx", max_size=5), max_size=12)


def naive(text: str, stops: tuple[str, ...]) -> tuple[int, int, str] | None:
    """(start, end, stop) by looking at every beginning of the whole text, shortest first."""
    for end in range(1, len(text) + 1):
        hits = [stop for stop in stops if text[:end].endswith(stop)]
        if hits:
            stop = max(hits, key=len)
            return end - len(stop), end, stop
    return None


def fed(
    parts: list[str], stops: tuple[str, ...], include: bool = False
) -> tuple[str, str | None, int]:
    """(text shown, stop string, index of the piece that ended it)."""
    finder = StopFinder(stops, include)
    shown = ""
    for index, part in enumerate(parts):
        text, stop = finder.feed(part)
        shown += text
        if stop is not None:
            return shown, stop, index
    return shown + finder.flush(), None, len(parts)


@settings(deadline=None)
@given(pieces, stop_strings, st.booleans())
def test_found_as_in_a_search_of_the_whole_text(
    parts: list[str], stops: tuple[str, ...], include: bool
) -> None:
    text = "".join(parts)
    expected = naive(text, stops)
    shown, stop, index = fed(parts, stops, include)
    if expected is None:
        assert (shown, stop) == (text, None)
    else:
        start, end, match = expected
        assert (shown, stop) == (text[: end if include else start], match)
        assert len("".join(parts[:index])) < end <= len("".join(parts[: index + 1]))


@settings(deadline=None)
@given(pieces, stop_strings)
def test_nothing_is_shown_that_a_stop_string_may_begin_with(
    parts: list[str], stops: tuple[str, ...]
) -> None:
    finder = StopFinder(stops)
    shown = fed_text = ""
    for part in parts:
        text, stop = finder.feed(part)
        shown, fed_text = shown + text, fed_text + part
        if stop is not None:
            break
        held = fed_text[len(shown) :]
        assert all(
            not stop.startswith(fed_text[start:]) for stop in stops for start in range(len(shown))
        )
        assert held == "" or any(stop.startswith(held) for stop in stops)


@settings(deadline=None)
@given(st.text("abcx", max_size=12), st.text("abcx", max_size=12), stop_strings)
def test_no_stop_string_ends_before_min_tokens(
    blind: str, seeing: str, stops: tuple[str, ...]
) -> None:
    finder = StopFinder(stops)
    shown = finder.feed(blind, armed=False)[0]
    text, stop = finder.feed(seeing)
    ends = [
        e
        for e in range(len(blind) + 1, len(blind + seeing) + 1)
        if any((blind + seeing)[:e].endswith(s) for s in stops)
    ]
    assert (stop is not None) == bool(ends)
    if stop is None:
        assert shown + text + finder.flush() == blind + seeing


def test_without_stop_strings_nothing_is_held() -> None:
    assert StopFinder(()).feed("anything") == ("anything", None)


class Counted(str):
    """A text that counts how often it is asked how it begins."""

    compared = 0

    def startswith(self, *given: object) -> bool:
        Counted.compared += 1
        return super().startswith(*given)  # type: ignore[arg-type]


def test_as_many_stop_strings_as_may_be_cost_a_token_little() -> None:
    """Each of a thousand begins as the text goes on, and one holds as much of it back as fits: each
    place in what is held was tried with each of them at every token, 22 ms of the process that all
    streams pass through, for each of 128 choices."""
    alike = [Counted("a" + chr(0x4E00 + n) + "x" * 61) for n in range(1000)]
    finder = StopFinder((*alike, Counted("a" * 63 + "b")))
    shown = "".join(finder.feed("a")[0] for _ in range(70))
    assert len(shown) == 70 - 63
    Counted.compared = 0
    assert finder.feed("a") == ("a", None)
    assert Counted.compared < 10
