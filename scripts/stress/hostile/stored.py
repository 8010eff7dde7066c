"""Hostile uploads, ids and batches: forms that are none, names that are paths, files that are not
there, and lines that no batch should have."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from .bodies import size_of
from .shot import CHAT, Shot, chat, chunked, post, request

FILES, BATCHES = "/v1/files", "/v1/batches"
ZEROS = "0" * 38
_NAMES = (
    "x.png", "../../etc/passwd", "..", "", "x" * 5000, "C:\\x", "a\x00b", "a\r\nX: y", "\u202ex",
    '"',
    "\\", "a/b", "é" * 400, "file:///etc/passwd", "x;filename=y", "%2e%2e%2f",
)  # fmt: skip
_IDS = (
    "file-", f"file-{ZEROS}", f"file-{ZEROS[1:]}", f"resp_{ZEROS}", f"batch_{ZEROS}", "..%2f..",
    "%00", "*", "x" * 4000, "%ff", f"FILE-{ZEROS}", "-", "file-%2fetc%2fpasswd",
)  # fmt: skip
_PURPOSES = ("vision", "user_data", "batch", "assistants", "", "fine-tune", "x" * 5000, "\x00")
_EXPIRES = ("3600", "60", "0", "-1", "1e9", "nan", "9" * 5000, "", "\u0663")
_SWITCHES = ("true", "1", "false", "", "yes", "\x00", "x" * 5000)
_BOUNDARIES = ("b", "b" * 70, "b" * 71, "", '"b', "\u00e9", "b; boundary=c", "a b")


def draw_stored(draw: Random, biggest: int) -> Shot:
    makers: tuple[Callable[[Random, int], Shot], ...] = (_form, _form, _asked, _batch, _part)
    return draw.choice(makers)(draw, biggest)


def _form(draw: Random, biggest: int) -> Shot:
    """Mostly whole, with something odd; some are cut, and some are bytes between boundaries."""
    boundary = draw.choice(_BOUNDARIES) if draw.random() < 0.3 else "b"
    mark = boundary.strip('"').encode()
    content = draw.randbytes(min(size_of(draw, biggest), 1 << 20))
    name = draw.choice(_NAMES)
    fields = {"purpose": draw.choice(_PURPOSES)}
    if draw.random() < 0.5:
        fields["expires_after[anchor]"] = draw.choice(("created_at", "", "now"))
        fields["expires_after[seconds]"] = draw.choice(_EXPIRES)
    if draw.random() < 0.2:
        fields[draw.choice(("pin", "warm"))] = draw.choice(_SWITCHES)
    parts = [_part_of(f'form-data; name="{key}"', value.encode()) for key, value in fields.items()]
    head = f'form-data; name="{draw.choice(("file", "file", "file", "x"))}"; filename="{name}"'
    parts.append(_part_of(head, content) * draw.choice((1, 1, 1, 2, 100)))
    draw.shuffle(parts)
    body = b"".join(b"--" + mark + b"\r\n" + part for part in parts) + b"--" + mark + b"--\r\n"
    how = draw.choice(("whole", "whole", "cut", "noise", "chunked"))
    if how == "cut":
        body = body[: draw.randrange(len(body))]
    elif how == "noise":
        bits = (
            b"--b",
            b"--",
            b"\r\n",
            b"\r\n\r\n",
            b"Content-Disposition: form-data;",
            b'name="a"',
        )
        body = b"".join(draw.choices(bits, k=min(20_000, max(1, len(content) // 8))))
    kind = f"multipart/form-data; boundary={boundary}"
    what = f"a {how} form with {name[:20]!r}, {fields}"[:200]
    if how == "chunked":
        pieces = chunked(FILES, body, draw.choice((7, 1000, 65_536)))
        pieces[0] = pieces[0].replace(b"application/json", kind.encode("latin-1", "replace"))
        return Shot(what=what, pieces=pieces)
    return Shot(what=what, pieces=request(FILES, body, kind=kind))


def _part_of(disposition: str, content: bytes) -> bytes:
    head = f"Content-Disposition: {disposition}\r\nContent-Type: image/png\r\n\r\n"
    return head.encode("utf-8", "surrogatepass") + content + b"\r\n"


def _asked(draw: Random, biggest: int) -> Shot:
    root, id = draw.choice((FILES, BATCHES)), draw.choice(_IDS)
    rest = draw.choice(("", "/content", "/cancel", "/pin"))
    method = draw.choice(("GET", "DELETE", "POST"))
    query = draw.choice(("", "", "?limit=0", "?limit=x", "?after=../x", f"?after={ZEROS}"))
    pieces = request(f"{root}/{id}{rest}{query}", b"", method=method, kind=None)
    return Shot(what=f"{method} {root}/{id[:40]}{rest}{query}", pieces=pieces, methods=(method,))


def _batch(draw: Random, biggest: int) -> Shot:
    body: dict[str, Any] = {
        "input_file_id": draw.choice(_IDS),
        "endpoint": draw.choice((CHAT, "/v1/files", "", "x" * 1000, "/metrics")),
        "completion_window": draw.choice(("24h", "0h", "1s", "9" * 1000 + "h", "")),
        "metadata": draw.choice((None, {}, {"a": "b"}, {"a": 1}, {"k" * 1000: "v"}, [])),
        "output_expires_after": draw.choice(
            (None, {}, {"anchor": "created_at", "seconds": 1 << 40})
        ),
    }
    return post(f"a batch: {json.dumps(body)[:120]}", BATCHES, body)


def _part(draw: Random, biggest: int) -> Shot:
    id: Any = draw.choice((*_IDS, 7, None, [], {}))
    kind = draw.choice(("image_url", "video_url", "audio_url", "input_audio", "input_image"))
    field = "image_url" if kind == "input_image" else kind
    part = draw.choice((
        {"type": kind, field: {"file_id": id}},
        {"type": kind, "file_id": id},
        {"type": kind, field: {"file_id": id, "url": "http://127.0.0.1/"}},
        {"type": kind, field: {"url": f"filed:{id}"}},
    ))  # fmt: skip
    return post(f"a part with the file {str(id)[:40]!r}", CHAT, chat([part]))
