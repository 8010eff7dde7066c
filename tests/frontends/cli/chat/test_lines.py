"""What is typed: commands, messages, several lines, and paths in them."""

import shlex
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.cli.chat.lines import ChatCommand, LineReader, Message
from thespis.frontends.cli.chat.paths import find_paths, kind_of, plain_path, without


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("hello", Message("hello")),
        ("  hello  ", Message("hello")),
        ("", None),
        ("/?", ChatCommand("?", "")),
        ("/SET top_p 0.5", ChatCommand("set", "top_p 0.5")),
        ("/image  a b.png", ChatCommand("image", "a b.png")),
        ("/tmp/a.png what is it?", Message("/tmp/a.png what is it?")),
        ("/a.png", Message("/a.png")),
        ('"""all of it"""', Message("all of it", typed=False)),
        ('""""""', None),
        ('/set system """be brief"""', ChatCommand("set", "system be brief")),
        ("one\n\n  two", Message("one\n\n  two", typed=False)),
        ("/clear\nis a command", Message("/clear\nis a command", typed=False)),
        ('"""\n/tmp/a.png\n"""', Message("/tmp/a.png", typed=False)),
    ],
)
def test_a_line_is_a_command_or_a_message(line: str, read: object) -> None:
    reader = LineReader()
    assert reader.feed(line) == read
    assert not reader.inside


def test_lines_between_quotes_are_one_message() -> None:
    reader = LineReader()
    for line in ('"""first', "", "/clear", "  indented"):
        assert reader.feed(line) is None
        assert reader.inside
    found = reader.feed('last"""  ')
    assert found == Message("first\n\n/clear\n  indented\nlast", typed=False)
    assert reader.feed("/clear") == ChatCommand("clear", "")


def test_a_command_takes_several_lines_too() -> None:
    reader = LineReader()
    assert reader.feed('/set system """be brief,') is None
    assert reader.feed('be kind"""') == ChatCommand("set", "system be brief,\nbe kind")


def test_what_is_dropped_is_forgotten() -> None:
    reader = LineReader()
    reader.feed('/set system """be')
    reader.drop()
    assert not reader.inside
    assert reader.feed("hello") == Message("hello")


@pytest.mark.parametrize(
    ("text", "paths", "words"),
    [
        ("/tmp/a.png what is it?", ["/tmp/a.png"], "what is it?"),
        ("What is it? /tmp/a.png", ["/tmp/a.png"], "What is it?"),
        ("what is in /tmp/a.png?", ["/tmp/a.png"], "what is in a.png?"),
        ("what is in /tmp/a.png", ["/tmp/a.png"], "what is in a.png"),
        ("see (/tmp/a.png), please", ["/tmp/a.png"], "see (a.png), please"),
        ("/a.png /b.JPEG ~/c.webp ", ["/a.png", "/b.JPEG", "~/c.webp"], ""),
        ("is ./a.png ../b.mp4?", ["./a.png", "../b.mp4"], "is a.png b.mp4?"),
        ("/x/a.png and /x/b.png differ", ["/x/a.png", "/x/b.png"], "a.png and b.png differ"),
        ("'/tmp/a b.png' hi", ["/tmp/a b.png"], "hi"),
        ("'/tmp/it'\\''s.wav'", ["/tmp/it's.wav"], ""),
        ('"/tmp/a \\"b\\".mov" hi', ['/tmp/a "b".mov'], "hi"),
        ("/tmp/a\\ b\\(1\\).png hi", ["/tmp/a b(1).png"], "hi"),
        ("file:///tmp/a%20b.png hi", ["/tmp/a b.png"], "hi"),
        ("file://localhost/tmp/a%23b.flac", ["/tmp/a#b.flac"], ""),
        ("file://elsewhere/tmp/a.png", [], None),
        ("file:///tmp/%00.png", [], None),
        ("file://[/a.png", [], None),
        ("https://example.org/a.png", [], None),
        ("cat.png is a word", [], None),
        ("don't open /etc/passwd or /tmp/a.py", [], None),
        ("I don't know '/tmp/a.png", ["'/tmp/a.png"], "I don't know '/tmp/a.png"),
        ("it's /tmp/a.png, isn't it?", ["/tmp/a.png"], "it's a.png, isn't it?"),
        ("/tmp/.png", [], None),
    ],
)
def test_paths_in_a_line(text: str, paths: list[str], words: str | None) -> None:
    found = find_paths(text)
    assert [one.path for one in found] == paths
    if words is None or words != text:
        assert without(text, found) == (text if words is None else words)


@pytest.mark.parametrize(
    ("text", "paths", "words"),
    [
        ("/tmp/a b.png what is it?", ["/tmp/a b.png"], "what is it?"),
        ("what is in ~/c (1) d.mp4?", ["~/c (1) d.mp4"], "what is in c (1) d.mp4?"),
        ("/tmp/a b.png /tmp/e.png", ["/tmp/a b.png", "/tmp/e.png"], ""),
        ("/tmp/e.png is no b.png", ["/tmp/e.png"], "is no b.png"),
        ("/tmp/f g.png.wav b.png", ["/tmp/f g.png.wav"], "b.png"),
        ("/tmp/x b.png", [], None),
        ("see /tmp or tmp/a b.png", [], None),
    ],
)
def test_spaces_that_nothing_marks_belong_to_a_file_that_is_there(
    text: str, paths: list[str], words: str | None
) -> None:
    there = {"/tmp/a b.png", "~/c (1) d.mp4", "/tmp/e.png", "/tmp/f g.png.wav"}
    found = find_paths(text, there.__contains__)
    assert [one.path for one in found] == paths
    assert without(text, found) == (text if words is None else words)


def test_signs_behind_a_path_are_looked_at_once() -> None:
    signs = "?" * 100_000
    (found,) = find_paths(f"/tmp/a.png{signs}", lambda _: False)
    assert found.path == "/tmp/a.png"


def test_a_path_with_spaces_ends_in_its_line() -> None:
    asked: list[str] = []

    def is_file(path: str) -> bool:
        asked.append(path)
        return False

    assert not find_paths("./one two\n" * 10_000 + "./three.txt four.png", is_file)
    assert not any("\n" in path for path in asked)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/a.PNG", "image"),
        ("/a.b.mp4", "video"),
        ("/x/a.opus", "audio"),
        ("/a.PDF", "document"),
        ("/a.png/b", None),
    ],
)
def test_the_end_of_a_name_says_what_it_is(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


NAMES = st.text("ab '\"\\()?é.", min_size=1, max_size=12).map(lambda name: f"/tmp/x{name}y.png")


@given(NAMES)
def test_a_path_as_a_shell_quotes_it_is_that_path(path: str) -> None:
    (found,) = find_paths(shlex.quote(path) + " and what?")
    assert found.path == path
    assert plain_path(shlex.quote(path)) == path


@given(st.text(max_size=60))
def test_any_line_is_read(text: str) -> None:
    found = find_paths(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert len(without(text, found)) <= len(text)
    plain_path(text)
    LineReader().feed(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a b.png", "a b.png"),
        ("'a b.png'", "a b.png"),
        ("a\\ b.png", "a b.png"),
        ("file:///a%20b", "/a b"),
        ("it's.png", "it's.png"),
        ("", ""),
    ],
)
def test_the_path_of_a_command(text: str, path: str) -> None:
    assert plain_path(text) == path
