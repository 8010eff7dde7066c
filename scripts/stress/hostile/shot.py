"""One hostile case as bytes for a connection, and the few ways in which they are put together."""

import base64
import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

HOST = b"Host: localhost\r\n"
CHAT, COMPLETIONS, TOKENIZE, DETOKENIZE = (
    "/v1/chat/completions",
    "/v1/completions",
    "/tokenize",
    "/detokenize",
)
MEBIBYTE = 1 << 20
SECONDS = 10.0
"""In which a case is answered, unless it asks for more than others may."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """What is written to a connection of its own."""

    what: str
    """In words, for the report."""
    pieces: Sequence[bytes]
    pause: float = 0.0
    """Seconds between the pieces."""
    leaves: float | None = None
    """Seconds after the last piece at which the caller goes away without an answer; None: it waits
    for one."""
    may_close: bool = False
    """The server may close the connection without a word: what it was sent is no request, or not a
    whole one."""
    methods: tuple[str, ...] = ("POST",)
    """Of the requests that may be answered, in order."""
    seconds: float = SECONDS
    """Within which it is to be answered."""

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


def request(
    path: str,
    body: bytes,
    *headers: str,
    method: str = "POST",
    kind: str | None = "application/json",
) -> list[bytes]:
    """Head and body of a request that ends its connection. `kind`: its Content-Type."""
    lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}", *headers]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return [head(*lines), body]


def head(*lines: str) -> bytes:
    return (
        "\r\n".join(lines).encode("latin-1", "replace")
        + b"\r\n"
        + HOST
        + b"Connection: close\r\n\r\n"
    )


def post(what: str, path: str, body: dict[str, Any], seconds: float = SECONDS) -> Shot:
    """An ordinary request, with what is hostile inside of its JSON."""
    return Shot(what=what, pieces=request(path, json.dumps(body).encode()), seconds=seconds)


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 4,
        "temperature": 0,
        **more,
    }


def packed(draw: Random, path: str, body: bytes) -> tuple[str, list[bytes]]:
    """The body as it travels: mostly plain, else compressed, in chunks, or as something that it is
    not."""
    match draw.choices(
        ("plain", "gzip", "deflate", "chunked", "expect", "text", "untyped", "form", "charset"),
        _SHARES,
    )[0]:
        case "gzip":
            return "gzip, ", request(path, gzip.compress(body, 1), "Content-Encoding: gzip")
        case "deflate":
            return "deflate, ", request(path, zlib.compress(body, 1), "Content-Encoding: deflate")
        case "chunked":
            return "chunked, ", chunked(path, body, draw.choice((7, 1000, 65_536, 10 * MEBIBYTE)))
        case "expect":
            return "expecting 100, ", request(path, body, "Expect: 100-continue")
        case "text":
            return "as text, ", request(path, body, kind="text/plain")
        case "untyped":
            return "untyped, ", request(path, body, kind=None)
        case "form":
            part = (
                b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + body + b"\r\n--x--\r\n"
            )
            return "as a form, ", request(path, part, kind="multipart/form-data; boundary=x")
        case "charset":
            charset = draw.choice(("utf-16", "latin-1", "utf-7", "none", "\u00e9", "a" * 4000))
            return "with a charset, ", request(
                path, body, kind=f"application/json; charset={charset}"
            )
    return "", request(path, body)


_SHARES = (60, 6, 3, 9, 4, 4, 4, 5, 5)


def chunked(path: str, body: bytes, size: int) -> list[bytes]:
    """At most 20,000 chunks: a body of a million tiny ones measures the sender."""
    size = max(size, len(body) // 20_000)
    lines = (
        f"POST {path} HTTP/1.1",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
    )
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return [
        head(*lines),
        b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n",
    ]


def data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
