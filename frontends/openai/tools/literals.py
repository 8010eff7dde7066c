"""Values that models write in other notations than JSON, told as JSON while they come. Pure."""

from collections.abc import Callable
from string import hexdigits

from .blocks import SPACES, Machine, Malformed, Steps, literal, spaces, until
from .values import NUMBER, WORDS, Tell, escaped, quoted

MOST_NESTED = 64
MOST_BARE = 1024
"""Characters of a value without quotes."""
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
           "0": "\0", "\\": "\\", "'": "'", '"': '"', "\n": ""}  # fmt: skip
HEX = {"x": 2, "u": 4, "U": 8}
MARK = '<|"|>'
"""Around texts, as Gemma writes them."""


def NAME(char: str) -> bool:
    """Whether the character may stand in a function's name."""
    return char.isascii() and (char.isalnum() or char in "_.-")


def _bare(text: str) -> str:
    """A word without quotes: a number, a constant, or a text after all."""
    text = WORDS.get(text, text)
    plain = text in ("true", "false", "null") or NUMBER.fullmatch(text) is not None
    return text if plain else quoted(text).decode()


def _word(tell: Tell, char: str, ends: str) -> Steps:
    """Returns the character behind it."""
    word = ""
    while char not in ends:
        word += char
        if len(word) > MOST_BARE:
            raise Malformed
        char = yield
    if not word.strip(SPACES):
        raise Malformed
    tell(_bare(word.strip(SPACES)))
    return char


def json_object(tell: Tell, char: str) -> Machine:
    """As it is, up to the bracket that closes it."""
    depth, in_string, skip = 0, False, False
    while True:
        tell(char)
        if in_string:
            if skip:
                skip = False
            elif char == "\\":
                skip = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
            if depth == 0:
                return ""
        char = yield


# Gemma's


def tagged_object(tell: Tell, depth: int) -> Steps:
    """Behind its opening bracket, to the closing one."""

    def member(char: str) -> Steps:
        if char == MARK[0]:
            yield from _marked_text(tell, char)
            yield from literal(":", (yield from spaces()))
        else:
            key = ""
            while char != ":":
                key += char
                if len(key) > MOST_BARE or char in ",{}[]<":
                    raise Malformed
                char = yield
            tell(quoted(key.strip(SPACES)).decode())
        tell(": ")
        return (yield from _tagged(tell, (yield from spaces()), depth))

    return (yield from _members(tell, "{}", "}", member))


def _tagged(tell: Tell, char: str, depth: int) -> Steps:
    """A value; returns the character behind it."""
    if depth >= MOST_NESTED:
        raise Malformed
    if char == MARK[0]:
        yield from _marked_text(tell, char)
    elif char == "{":
        yield from tagged_object(tell, depth + 1)
    elif char == "[":
        yield from _members(tell, "[]", "]", lambda first: _tagged(tell, first, depth + 1))
    else:
        return (yield from _word(tell, char, ",}]"))
    return (yield)


def _marked_text(tell: Tell, char: str) -> Steps:
    yield from literal(MARK, char)
    tell('"')
    yield from until(MARK, lambda letter: tell(escaped(letter)))
    tell('"')
    return ""


def _members(tell: Tell, told: str, close: str, member: Callable[[str], Steps]) -> Steps:
    """Behind the opening bracket of a list or an object, to `close`. `told`: the brackets that JSON
    has for them; `member` reads one from its first character and returns the one behind it."""
    tell(told[0])
    char, first = (yield from spaces()), True
    while char != close:
        if not first:
            tell(", ")
        first = False
        char = yield from _next((yield from member(char)), close)
    tell(told[1])
    return char


def _next(char: str, close: str) -> Steps:
    """Past a comma; returns what begins the next member, or the closing bracket."""
    char = yield from spaces(char)
    if char == ",":
        return (yield from spaces())
    if char != close:
        raise Malformed
    return char


# Python's


def python_value(tell: Tell, char: str, depth: int) -> Steps:
    """Returns the character behind it."""
    if depth >= MOST_NESTED:
        raise Malformed
    if char in "'\"":
        yield from _python_text(tell, char)
    elif char in "[(":
        close = "]" if char == "[" else ")"
        yield from _members(tell, "[]", close, lambda one: python_value(tell, one, depth + 1))
    elif char == "{":
        yield from _members(tell, "{}", "}", lambda key: _python_pair(tell, key, depth + 1))
    else:
        return (yield from _word(tell, char, ",)]}" + SPACES))
    return (yield)


def _python_pair(tell: Tell, char: str, depth: int) -> Steps:
    """A key and its value; returns the character behind it."""
    if char not in "'\"":
        raise Malformed
    yield from _python_text(tell, char)
    yield from literal(":", (yield from spaces()))
    tell(": ")
    return (yield from python_value(tell, (yield from spaces()), depth))


def _python_text(tell: Tell, quote: str) -> Steps:
    tell('"')
    while (char := (yield)) != quote:
        if char == "\\":
            char = yield
            if char in HEX:
                yield from _hex(tell, HEX[char])
                continue
            tell(escaped(ESCAPES.get(char, "\\" + char)))
        else:
            tell(escaped(char))
    tell('"')
    return ""


def _hex(tell: Tell, digits: int) -> Steps:
    number = ""
    for _ in range(digits):
        number += yield
    if not all(digit in hexdigits for digit in number) or (code := int(number, 16)) > 0x10FFFF:
        raise Malformed
    # Half of a surrogate pair stays an escape: the other half may follow.
    tell(f"\\u{code:04x}" if code < 0x10000 else escaped(chr(code)))
    return ""
