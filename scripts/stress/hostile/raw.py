"""Raw bytes on a connection: requests in requests, too many, too slow, in bad chunks, and callers
that go away early."""

import json
from collections.abc import Callable
from random import Random

from .shot import CHAT, COMPLETIONS, HOST, TOKENIZE, Shot, chat, head, request

_BODY = json.dumps(chat("hi")).encode()
_KIND = "Content-Type: application/json"
LEAVE_SECONDS = 0.3


def draw_raw(draw: Random, biggest: int) -> Shot:
    return draw.choice(_KINDS)(draw)


def _smuggled(draw: Random) -> Shot:
    """Two lengths, or a length and chunks: who reads it otherwise sees another request."""
    inner = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    lines = draw.choice((
        ("Content-Length: 4", "Transfer-Encoding: "
        "chunked"), ("Content-Length: 4", "Content-Length: 9"),
        ("Content-Length: 4, 4",),
        ("Content-Length: +4",), ("Content-Length: 4_0",), ("Content-Length: -1",),
        ("Content-Length: 0x4",),
        ("Content-Length: 9" + "9" * 400,),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), ("Transfer-Encoding: "
        "gzip, chunked",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",), ("Transfer-Encoding:\tchunked",), ("Transfer-Encoding: "
        "chunked, identity",
        ), ("Transfer-Encoding: \x0bchunked",),
        ("X: y\r\n Transfer-Encoding: chunked",), ("Content-Length: "
        "4\rX: y",), ("Content-Length:\n 4",),
        ("Transfer-Encoding: identity",),
    ))  # fmt: skip
    data = draw.choice(
        (b"0\r\n\r\n" + inner, b"abcd" + inner, b"4\r\nabcd\r\n0\r\n\r\n" + inner, _BODY)
    )
    whole = head(f"POST {CHAT} HTTP/1.1", _KIND, *lines) + data
    return Shot(
        what=f"smuggling: {', '.join(lines)[:70]}",
        pieces=[whole],
        may_close=True,
        leaves=_patience(draw),
    )


def _pipelined(draw: Random) -> Shot:
    count, path = (
        draw.choice((3, 100, 3000)),
        draw.choice(("/live", "/v1/models", CHAT, "/none", TOKENIZE)),
    )
    method = "GET" if path in ("/live", "/v1/models", "/none") else "POST"
    body = (
        b""
        if method == "GET"
        else draw.choice((b"{}", b'{"prompt":"hi"}', _BODY if count < 100 else b"{}"))
    )
    one = (
        f"{method} {path} HTTP/1.1\r\n{_KIND}\r\nContent-Length: {len(body)}\r\n".encode()
        + HOST
        + b"\r\n"
        + body
    )
    what = f"{count} pipelined {method} {path}"
    return Shot(
        what=what,
        pieces=[one * count],
        may_close=True,
        leaves=draw.choice((0.0, 1.0)),
        methods=(method,) * count,
    )


def _drip(draw: Random) -> Shot:
    """A byte at a time, of the head or of the body; and away."""
    at = draw.choice((0, 20, 90))
    whole = b"".join(request(CHAT, _BODY))
    if draw.random() < 0.5:
        at = whole.index(b"\r\n\r\n") + 4
    pieces = [
        whole[:at],
        *(whole[place : place + 1] for place in range(at, min(at + 20, len(whole)))),
    ]
    return Shot(
        what=f"drips from byte {at} on",
        pieces=[piece for piece in pieces if piece],
        pause=0.05,
        leaves=0.0,
        may_close=True,
    )


def _bad_chunks(draw: Random) -> Shot:
    chunk = draw.choice((
        b"z\r\nabc\r\n", b"-1\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"5\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3;" + b"x" * 20_000 + b"\r\nabc\r\n", b"\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b"1\r\n{\r\n" * 2000 + b"0\r\n\r\n",
        b"0\r\nX: y\r\n" * 300 + b"\r\n", b"3\r\nabcX0\r\n\r\n",
    ))  # fmt: skip
    whole = head(f"POST {CHAT} HTTP/1.1", _KIND, "Transfer-Encoding: chunked") + chunk
    return Shot(
        what=f"bad chunks {chunk[:30]!r}", pieces=[whole], may_close=True, leaves=_patience(draw)
    )


def _bad_head(draw: Random) -> Shot:
    what, data = draw.choice((
        ("a long path", b"GET /" + b"a" * draw.choice((9000, 1_000_000)) + b" HTTP/1.1\r\n\r\n"),
        ("a long header", b"GET /live "
        b"HTTP/1.1\r\nX: " + b"a" * draw.choice((9000, 1_000_000)) + b"\r\n\r\n"),
        ("many headers", b"GET /live "
        b"HTTP/1.1\r\n" + b"X: y\r\n" * draw.choice((200, 100_000)) + b"\r\n"),
        ("no version", b"GET /live\r\n\r\n"), ("another version", b"GET /live "
        b"HTTP/9.9\r\n\r\n"), ("HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
        ("noise", draw.randbytes(3000)),
        ("NUL", b"GET /\x00 HTTP/1.1\r\n\r\n"),
        ("no host", b"GET /live HTTP/1.1\r\n\r\n"), ("two hosts", b"GET /live HTTP/1.1\r\nHost: "
        b"a\r\nHost: b\r\n\r\n"),
        ("a bad header name", b"GET /live HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n"), ("blank lines",
        b"\r\n" * 5000 + b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a bare line feed", b"GET /live HTTP/1.1\nHost: a\n\n"), ("a proxy's",
        b"GET http://a/live HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("CONNECT", b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n"), ("an upgrade",
        b"GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: "
        b"AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"),
    ))  # fmt: skip
    return Shot(what=what, pieces=[data], may_close=True, leaves=1.0, methods=("GET",))


def _odd_request(draw: Random) -> Shot:
    """Whole requests: other methods, other paths, odd headers."""
    path = draw.choice(
        (
            CHAT,
            COMPLETIONS,
            "/",
            "/../etc/passwd",
            "/%2e%2e/",
            "/v1/models/" + "a" * 3000,
            "/v1/models/%00",
            "/metrics?a=%ff",
            "//live",
            "*",
        )
    )
    method = draw.choice(
        ("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "POST", "FOO")
    )
    header = draw.choice((
        "X: y", "Authorization: Bearer \xff", "Authorization: " + "a" * 5000, "Authorization: "
        "Basic Og==",
        "Cookie: " + "a=b;" * 500, "Accept: a/b",
        "Content-Encoding: br", "Content-Encoding: "
        "gzip, gzip", "Expect: 200-ok", "Origin: http://a",
        "Range: bytes=0-1", "X-Request-Id: " + "\xe9" * 300,
        "Content-Type: application/json", "Accept-Encoding: gzip;q=x", "X-Forwarded-For: "
        "127.0.0.1", "Referer: \x01",
    ))  # fmt: skip
    pieces = request(path, _BODY if method == "POST" else b"", header, method=method)
    return Shot(
        what=f"{method} {path[:40]} with {header[:40]!r}",
        pieces=pieces,
        methods=(method,),
        may_close=path == "*" or "\x01" in header,
    )


def _early_leaver(draw: Random) -> Shot:
    """Goes away in the head, in the body, before the answer, or in it."""
    whole = b"".join(
        request(
            CHAT,
            json.dumps(
                {**chat("hi"), "stream": True, "max_tokens": 500, "ignore_eos": True}
            ).encode(),
        )
    )
    sent = whole[: draw.choice((1, 30, len(whole) // 2, len(whole) - 1, len(whole), len(whole)))]
    leaves = draw.choice((0.0, 0.0, 0.02, LEAVE_SECONDS))
    return Shot(
        what=f"leaves after {len(sent)} of {len(whole)} bytes",
        pieces=[sent],
        leaves=leaves,
        may_close=True,
    )


def _half_body(draw: Random) -> Shot:
    """Announces more than it sends."""
    announced = draw.choice((len(_BODY) + 1, 1 << 20, 255 << 20, 257 << 20, 1 << 62))
    whole = head(f"POST {CHAT} HTTP/1.1", _KIND, f"Content-Length: {announced}") + _BODY
    return Shot(
        what=f"announces {announced:,} bytes", pieces=[whole], leaves=LEAVE_SECONDS, may_close=True
    )


def _patience(draw: Random) -> float:
    return draw.choice((0.0, LEAVE_SECONDS, 1.0))


_KINDS: tuple[Callable[[Random], Shot], ...] = (
    _smuggled, _smuggled, _pipelined, _drip, _bad_chunks, _bad_head, _odd_request, _odd_request,
    _early_leaver, _half_body,
)  # fmt: skip
