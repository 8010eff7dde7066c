"""JSON of every structure, of about a given size. A maker returns the bytes of one value, or of
what should have been one."""

import json
from collections.abc import Callable
from random import Random

Make = Callable[[Random, int], bytes]
DISTINCT = 100_000
"""Different keys or numbers of one value; larger values repeat them."""


def empties(draw: Random, size: int) -> bytes:
    unit = draw.choice(
        (b"[]", b"{}", b'""', b"0", b"null", b"true", b"[[]]", b'{"":0}', b"[{}]", b"-0.0e-0")
    )
    return _array(unit, size)


def deep(draw: Random, size: int) -> bytes:
    opening, closing = draw.choice(
        ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b"[0,", b"]"), (b" [", b"] "))
    )
    depth = size // (len(opening) + len(closing)) + 1
    ends = draw.choice((depth, depth, 0, depth - 1, depth + 1))
    return opening * depth + b"0" + closing * ends


def bushy(draw: Random, size: int) -> bytes:
    """Many values, each of the depth that is just still read."""
    depth = draw.choice((3, 10, 60, 200))
    return _array(b"[" * depth + b"]" * depth, size)


def wide(draw: Random, size: int) -> bytes:
    """An object with many keys: different ones, equal ones, or such as collide in simple hashes."""
    value = draw.choice((b"0", b"[]", b'"x"', b"{}"))
    if draw.random() < 0.5:
        return b"{" + _joined(b'"a":' + value, size) + b"}"
    keys = b",".join(
        b'"%x":%b' % (number * 65_537, value) for number in range(min(DISTINCT, size // 12 + 1))
    )
    return b"{" + _joined(keys, size) + b"}"


def numbers(draw: Random, size: int) -> bytes:
    digits = draw.choice((1, 17, 400, 5000))
    unit = draw.choice(
        (
            "9" * digits,
            f"-0.{'1' * digits}",
            f"1e{draw.randint(1, 10**6)}",
            f"{draw.randint(0, 477)}",
            "1E-400",
        )
    )
    return _array(unit.encode(), size)


def long_number(draw: Random, size: int) -> bytes:
    return draw.choice((b"", b"-", b"0.", b"1e", b"1e-")) + b"7" * size


def escapes(draw: Random, size: int) -> bytes:
    pairs = (
        b"\\u0041",
        b"\\\\",
        b'\\"',
        b"\\n",
        b"\\ud83d\\ude00",
        b"\\ud800",
        b"\\udc00",
        b"\\u0000",
        b"\\uFFFF",
        b"\\x41",
        b"\\u12",
    )
    unit = draw.choice(pairs)
    return b'"' + unit * (size // len(unit)) + b'"'


def text(draw: Random, size: int) -> bytes:
    unit = draw.choice(
        (
            "a",
            "word ",
            "\u00e9",
            "\u4e2d",
            "\U0001f600",
            "\u202e",
            "a\u0300",
            "\u007f",
            "<|im_end|>",
            "A" * 70,
        )
    ).encode()
    return b'"' + unit * (size // len(unit)) + b'"'


def spaces(draw: Random, size: int) -> bytes:
    unit = draw.choice((b" ", b"\n", b"\t", b" \r\n"))
    space = unit * (size // (2 * len(unit)))
    return space + draw.choice((b"[]", b"{}", b"1", b"")) + space


def strings(draw: Random, size: int) -> bytes:
    return _array(json.dumps("x" * draw.choice((0, 1, 30, 2000))).encode(), size)


def records(draw: Random, size: int) -> bytes:
    """What a real list would hold, far too often."""
    real = (
        {"role": "user", "content": "hi"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
        },
    )
    return _array(json.dumps(draw.choice(real)).encode(), size)


def bad_utf8(draw: Random, size: int) -> bytes:
    """In a string, in a key, or between."""
    bad = draw.choice(
        (
            b"\xff",
            b"\xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe2\x28\xa1",
            b"\x80",
            b"\x00",
            b"\x1f",
        )
    )
    before, after = draw.choice(((b'"', b'"'), (b'{"', b'":1}'), (b"[", b"]"), (b'["a', b'b"]')))
    return before + b"a" * (size // 2) + bad + b"a" * (size // 2) + after


def truncated(draw: Random, size: int) -> bytes:
    whole = draw.choice((empties, wide, records, text, escapes, deep))(draw, size)
    return whole[: draw.randint(0, len(whole))]


def no_json(draw: Random, size: int) -> bytes:
    """What looks like JSON to some."""
    unit = draw.choice(
        (
            b"NaN",
            b"Infinity",
            b"'a'",
            b"1,",
            b"/**/1",
            b"01",
            b"+1",
            b".5",
            b"0x10",
            b"True",
            b"[,]",
            b"{1:2}",
            b"{,}",
        )
    )
    return _array(unit, size)


def otherwise_coded(draw: Random, size: int) -> bytes:
    plain = json.dumps(["a" * (size // 4)])
    return plain.encode(
        draw.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-be", "utf-7", "cp500"))
    )


def noise(draw: Random, size: int) -> bytes:
    block = draw.randbytes(min(size, 1 << 16))
    return block * (size // len(block))


MAKERS: tuple[Make, ...] = (
    empties, deep, bushy, wide, numbers, long_number, escapes, text, spaces, strings, records,
    bad_utf8, truncated, no_json,
    otherwise_coded, noise,
)  # fmt: skip


def value(draw: Random, size: int) -> tuple[str, bytes]:
    """A value of one structure, and the structure's name."""
    make = draw.choice(MAKERS)
    return make.__name__.replace("_", " "), make(draw, max(2, size))


def _array(unit: bytes, size: int) -> bytes:
    return b"[" + _joined(unit, size) + b"]"


def _joined(unit: bytes, size: int) -> bytes:
    return (unit + b",") * max(0, size // (len(unit) + 1) - 1) + unit
