"""Reads a regular expression as ECMAScript, Python and Rust write them. What they differ in, or
what no automaton can do, is refused by its name and its place in the caller's own text.
"""

import re
import string
from typing import NoReturn

from .nodes import (
    DIGIT,
    EMPTY,
    SPACE,
    WIDE_SPACE,
    WORD,
    Alt,
    At,
    Chars,
    Look,
    Node,
    Place,
    Ranges,
    Repeat,
    Seq,
    complement,
    union,
)


class PatternError(ValueError):
    """Its text goes on from "The regular expression ..."."""


_PLACES: dict[str, Place] = {"A": "start", "Z": "end", "z": "end", "b": "word", "B": "inside"}
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "a": 7, "e": 27, "0": 0}
_CLASSES: dict[str, Ranges] = {
    "d": DIGIT, "D": complement(DIGIT), "w": WORD, "W": complement(WORD), "s": SPACE,
    "S": complement(WIDE_SPACE),
    "h": ((9, 9), (32, 32)), "N": complement(((10, 10),)),
}  # fmt: skip
_POSIX: dict[str, Ranges] = {
    "alpha": ((65, 90), (97, 122)), "digit": DIGIT, "alnum": ((48, 57), (65, 90), (97, 122)),
    "upper": ((65, 90),),
    "lower": ((97, 122),), "space": SPACE, "blank": ((9, 9), (32, 32)),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "xdigit": ((48, 57), (65, 70), (97, 102)), "word": WORD, "cntrl": ((0, 31), (127, 127)),
    "print": ((32, 126),),
    "graph": ((33, 126),), "ascii": ((0, 127),),
}  # fmt: skip
_HEX = frozenset(string.hexdigits)
_BRACE = re.compile("{([0-9 ]*(?:,[0-9 ]*)?)}")
_FLAGS = {"i": "ignore", "s": "dotall", "u": "", "a": "", "g": ""}
_LOOK_BEHIND = "uses look-behind"
_OPENINGS: tuple[tuple[str, str], ...] = (
    ("<=", _LOOK_BEHIND), ("<!", _LOOK_BEHIND), (">", "uses an atomic group"),
    ("P=", "uses a back-reference"),
    ("P>", "uses recursion"), ("R", "uses recursion"), ("&", "uses recursion"),
    ("(", "uses a conditional group"),
    ("|", "uses a branch reset"),
)  # fmt: skip


def parse(pattern: str) -> Node:
    """Raises PatternError."""
    parser = _Parser(pattern)
    node = parser.alternatives()
    if parser.at < len(pattern):
        parser.fail("has a `)` that nothing opens")
    return node


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self._flags: frozenset[str] = frozenset()

    def fail(self, what: str, at: int | None = None) -> NoReturn:
        raise PatternError(f"{what}, at its character {(self.at if at is None else at) + 1}")

    def _take(self, text: str) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def _next(self) -> str:
        if self.at >= len(self.text):
            self.fail("ends too early")
        self.at += 1
        return self.text[self.at - 1]

    # structure

    def alternatives(self) -> Node:
        """Up to the end of the group or of the text."""
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Alt(tuple(options))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            start = self.at
            atom = self._atom()
            parts.append(self._repeated(atom, start))
        return parts[0] if len(parts) == 1 else Seq(tuple(parts))

    def _repeated(self, atom: Node, start: int) -> Node:
        bounds = self._quantifier()
        if bounds is None:
            return atom
        least, most = bounds
        if isinstance(atom, At | Look):
            self.fail("repeats what takes no character", start)
        if most is not None and most < least:
            self.fail(f"repeats something at least {least} and at most {most} times", start)
        if self._take("+"):
            self.fail("uses a possessive quantifier", self.at - 1)
        self._take("?")  # lazy: the texts that match are the same
        if self._quantifier() is not None:
            self.fail("has a quantifier behind a quantifier", self.at - 1)
        return Repeat(atom, least, most)

    def _quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        found = _BRACE.match(self.text, self.at)
        low, comma, high = (found[1].replace(" ", "") if found else "").partition(",")
        if found is None or not (low or high):
            return None  # a brace that is only a brace
        if len(low) > 6 or len(high) > 6:
            self.fail("repeats something a million times or more")
        self.at = found.end()
        most = int(low) if not comma else (int(high) if high else None)
        return int(low or 0), most

    def _atom(self) -> Node:
        start = self.at
        char = self._next()
        match char:
            case "(":
                return self._group(start)
            case "[":
                return self._set(start)
            case "\\":
                return self._escape()
            case ".":
                return Chars(complement(() if "dotall" in self._flags else ((10, 10),)))
            case "^":
                return At("start")
            case "$":
                return At("end")
            case "*" | "+" | "?":
                self.fail("has a quantifier with nothing to repeat", start)
        return self._set_of(((ord(char), ord(char)),))

    def _group(self, start: int) -> Node:
        before = self._flags
        look = self._opening(start)
        if look == "#":
            end = self.text.find(")", self.at)
            self.at = end + 1 if end >= 0 else len(self.text)
            return EMPTY
        if look == ")":  # flags for the rest of the group around it
            return EMPTY
        node = self.alternatives()
        if not self._take(")"):
            self.fail("has a `(` that nothing closes", start)
        self._flags = before
        return Look(node, look == "=") if look in ("=", "!") else node

    def _opening(self, start: int) -> str:
        """Behind a `(`: what kind of group it is."""
        if not self._take("?"):
            if self._take("*"):
                self.fail("uses a control verb", start)
            return ""
        if self.at < len(self.text) and self.text[self.at] in "=!#":
            return self._next()
        for sign, words in _OPENINGS:
            if self.text.startswith(sign, self.at):
                self.fail(f"{words}, which is not supported", start)
        if self._take("P<") or self._take("<"):
            end = self.text.find(">", self.at)
            if end < 0 or not self.text[self.at : end].replace("_", "a").isalnum():
                self.fail("has a group whose name is none", start)
            self.at = end + 1
            return ""
        return self._read_flags(start)

    def _read_flags(self, start: int) -> str:
        on = True
        while (char := self._next()) not in ":)":
            if char == "-":
                on = False
            elif char not in _FLAGS:
                self.fail(f"uses the flag `{_shown(char)}`, which is not supported", start)
            elif on:
                self._flags |= {_FLAGS[char]}
            else:
                self._flags -= {_FLAGS[char]}
        return char

    # characters

    def _escape(self) -> Node:
        start = self.at - 1
        char = self._next()
        if char in _PLACES:
            return At(_PLACES[char])
        if char in "123456789k":
            self.fail("uses a back-reference, which is not supported", start)
        self.at -= 1
        ranges, name = self._escaped(start)
        return Chars((), (name,)) if name else self._set_of(ranges)

    def _escaped(self, start: int) -> tuple[Ranges, str]:
        """Behind a backslash, in a set or not: characters, or the name of a property."""
        char = self._next()
        if char in "pP":
            return (), f"\\{char}{{{self._property(start)}}}"
        if char in _CLASSES:
            return _CLASSES[char], ""
        if char in "xuU":
            code = self._code(char, start)
        elif char == "c":
            code = ord(self._next()) & 31
        elif char in _CONTROLS:
            code = _CONTROLS[char]
        elif char.isascii() and char.isalnum():
            self.fail(f"uses the escape `\\{char}`, which is not supported", start)
        else:
            code = ord(char)
        return ((code, code),), ""

    def _code(self, kind: str, start: int) -> int:
        if self._take("{"):
            end = self.text.find("}", self.at)
            digits = self.text[self.at : end] if end >= 0 else ""
            self.at = end + 1
        else:
            size = {"x": 2, "u": 4, "U": 8}[kind]
            digits = self.text[self.at : self.at + size]
            digits = digits if len(digits) == size else ""
            self.at += size
        read = 0 < len(digits) <= 8 and set(digits) <= _HEX
        if not read or (code := int(digits, 16)) > 0x10FFFF:
            self.fail(f"has an escape `\\{kind}` without the digits of a character", start)
        # Half a pair, as JavaScript may write one.
        if 0xD800 <= code <= 0xDBFF and self._take("\\u"):
            code = 0x10000 + ((code - 0xD800) << 10) + (self._code("u", start) - 0xDC00)
        if 0xD800 <= code <= 0xDFFF and kind != "u":
            self.fail("names half of a surrogate pair", start)
        return code

    def _property(self, start: int) -> str:
        if not self._take("{"):
            return self._next()
        end = self.text.find("}", self.at)
        name = self.text[self.at : end] if end >= 0 else ""
        if not name or len(name) > 64 or not name.replace("_", "").replace("=", "").isalnum():
            self.fail("has a Unicode property without a name", start)
        self.at = end + 1
        return name

    def _set(self, start: int) -> Node:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        names: list[str] = []
        first = True
        while first or not self.text.startswith("]", self.at):
            if self.at >= len(self.text):
                self.fail("has a `[` that nothing closes", start)
            first = False
            low, name = self._member()
            names += [name] if name else []
            if self._is_range() and (name or low[0][0] != low[-1][1]):
                ranges += low
            elif self._is_range():
                self.at += 1
                high, _ = self._member()
                if not high or high[0][0] != high[-1][1] or high[0][0] < low[0][0]:
                    self.fail("has a range of characters that runs backwards or has no end", start)
                ranges.append((low[0][0], high[0][0]))
            else:
                ranges += low
        self.at += 1
        return self._set_of(union(ranges), tuple(names), negated)

    def _is_range(self) -> bool:
        sign, behind = self.text[self.at : self.at + 1], self.text[self.at + 1 : self.at + 2]
        return sign == "-" and behind not in ("]", "")

    def _member(self) -> tuple[Ranges, str]:
        """One character or class of characters in a set."""
        start = self.at
        if self._take("[:"):
            end = self.text.find(":]", self.at)
            name = self.text[self.at : end] if end >= 0 else ""
            bare = name.removeprefix("^")
            if bare in _POSIX:
                self.at = end + 2
                return complement(_POSIX[bare]) if name != bare else _POSIX[bare], ""
            self.at = start
        char = self._next()
        if char != "\\":
            return ((ord(char), ord(char)),), ""
        if self._take("b"):
            return ((8, 8),), ""
        return self._escaped(start)

    def _set_of(self, ranges: Ranges, names: tuple[str, ...] = (), negated: bool = False) -> Node:
        if "ignore" in self._flags:
            ranges = _both_cases(ranges)
        if names:
            return Chars(ranges, names, negated)
        return Chars(complement(ranges) if negated else ranges)


def _both_cases(ranges: Ranges) -> Ranges:
    """Of ASCII letters in ranges, and of single characters."""
    more: list[tuple[int, int]] = []
    for low, high in ranges:
        for first, last, shift in ((65, 90, 32), (97, 122, -32)):
            if max(low, first) <= min(high, last):
                more.append((max(low, first) + shift, min(high, last) + shift))
        if low == high:
            others = chr(low).lower(), chr(low).upper()
            more += [(ord(other), ord(other)) for other in others if len(other) == 1]
    return union((*ranges, *more))


def _shown(char: str) -> str:
    return char if char.isascii() and char.isalnum() else "?"
