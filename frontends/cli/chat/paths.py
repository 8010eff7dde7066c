"""Paths that are dropped or written into a line: terminals quote them, escape their spaces, write
URLs of them, or leave them as they are."""

import os
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ENDS = {
    "image": "png jpg jpeg gif webp bmp tif tiff avif heic heif",
    "video": "mp4 m4v mov mkv webm avi mpg mpeg flv wmv 3gp",
    "document": "pdf",
    "audio": "wav mp3 flac ogg oga opus m4a aac wma w64 ac3 aif aiff",
}
_KINDS = {end: kind for kind, ends in ENDS.items() for end in ends.split()}
_BEHIND = "?!.,;:)]}'\""
"""Of a sentence, and not of the path at its end."""
_SENTENCE_ENDS = tuple(".?!:")
_BEGINS = ("/", "./", "../", "~/")
_ENDING = re.compile(rf"\.(?:{'|'.join(_KINDS)})(?=[\s{re.escape(_BEHIND)}]|\Z)", re.IGNORECASE)
MOST_PATH, MOST_TRIED = 4096, 16
"""Characters of a path with spaces, and ends of it in one line that are looked at."""


class Found(NamedTuple):
    """A path in a line."""

    start: int
    end: int
    path: str
    kind: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def kind_of(path: str) -> str | None:
    """By its end."""
    stem, dot, end = path.rpartition("/")[2].rpartition(".")
    return _KINDS.get(end.lower()) if stem and dot else None


def is_file(path: str) -> bool:
    """`~` is a home folder."""
    return os.path.isfile(os.path.expanduser(path))


def find_paths(text: str, is_file: Callable[[str], bool] = is_file) -> list[Found]:
    """Words with a slash in them that end as pictures, clips, sounds or PDFs do. A name without a
    slash is a word, and the URL of another machine is none of this one's paths. Several words are a
    path where `is_file` knows it."""
    found = []
    at = 0
    while at < len(text):
        if text[at].isspace() or text[at] in "([{":
            at += 1
            continue
        quoted = _quoted(text, at)
        end, word = quoted or _bare(text, at)
        after = end if quoted else _past_signs(text, end)
        path = _local(word)
        if text.startswith(_BEGINS, at) and not is_file(word):
            spaced = _spaced(text, at, end, is_file)
            if spaced is not None:
                end, path = spaced
                after = end
        if path is not None and (kind := kind_of(path)) is not None:
            found.append(Found(at, end, path, kind))
        at = after
    return found


def plain_path(text: str) -> str:
    """The one path that a text is, as it is dropped or typed: with spaces as they are, too."""
    text = text.strip()
    end, word = _quoted(text, 0) or _bare(text, 0) if text else (0, "")
    if end < len(text):
        return text
    return _local(word) or word


def without(text: str, found: Sequence[Found]) -> str:
    """The line without these paths. In the middle of a sentence the file's name stays, or the
    sentence would lack a word."""
    if not found:
        return text.strip()
    between = [text[one.end : after.start] for one, after in pairwise(found)]
    gaps = [text[: found[0].start], *between, text[found[-1].end :]]
    blank = [not gap.strip() for gap in gaps]
    first = blank.index(False) if False in blank else len(found)
    """Paths before any word."""
    last = len(found) - (blank[::-1].index(False) if False in blank else 0)
    """Behind all words; there they go where a sentence has ended."""
    if not gaps[last].rstrip().endswith(_SENTENCE_ENDS):
        last = len(found)
    if first < last:  # one is a word of the sentence: then those before it are, too
        first = 0
    pieces = [gaps[0]]
    for nth, (one, gap) in enumerate(zip(found, gaps[1:], strict=True)):
        pieces += [one.name if first <= nth < last else "", gap]
    return "".join(pieces).strip()


def _quoted(text: str, at: int) -> tuple[int, str] | None:
    """A word that begins with a quote, as a shell reads it, and where it ends; None where there is
    none. What stands in the middle of a word is an apostrophe."""
    if text[at] not in "'\"":
        return None
    word = list[str]()
    while at < len(text) and text[at] in "'\"\\":
        quote, at = text[at], at + 1
        if quote == "\\":
            word.append(text[at : at + 1])
            at += 1
            continue
        while at < len(text) and text[at] != quote:
            if quote == '"' and text[at : at + 2] in ('\\"', "\\\\"):
                at += 1
            word.append(text[at])
            at += 1
        if at == len(text):
            return None
        at += 1
    return at, "".join(word)


def _bare(text: str, at: int) -> tuple[int, str]:
    """A word up to the next blank that has no backslash before it."""
    begin, pieces = at, list[tuple[int, str]]()
    while at < len(text) and not text[at].isspace():
        step = 2 if text[at] == "\\" and at + 1 < len(text) else 1
        pieces.append((at, text[at + step - 1]))
        at += step
    while len(pieces) > 1 and pieces[-1][1] in _BEHIND and text[pieces[-1][0]] != "\\":
        at = pieces.pop()[0]
    return max(at, begin + 1), "".join(char for _, char in pieces)


def _past_signs(text: str, end: int) -> int:
    """Behind what was taken off a word: it holds no word, and to look at each sign again would take
    as long as their square."""
    while end < len(text) and text[end] in _BEHIND:
        end += 1
    return end


def _spaced(
    text: str, begin: int, end: int, is_file: Callable[[str], bool]
) -> tuple[int, str] | None:
    """A path whose spaces nothing marks, from `begin` to beyond `end`, and where it ends."""
    newline = text.find("\n", begin, begin + MOST_PATH)
    last = begin + MOST_PATH if newline < 0 else newline
    for tried, found in enumerate(_ENDING.finditer(text, end, last)):
        path = text[begin : found.end()]
        if tried == MOST_TRIED:
            break
        if is_file(path):
            return found.end(), path
    return None


def _local(word: str) -> str | None:
    """The path of a word that is one, or of its URL."""
    if word[:7].lower() == "file://":
        try:
            url = urlsplit(word)
        except ValueError:
            return None
        path = unquote(word[7 + len(url.netloc) :])
        return path if url.netloc in ("", "localhost") and "\0" not in path else None
    return word if "/" in word and "://" not in word and "\0" not in word else None
