"""Pictures, clips and sounds that are damaged or costly, written into requests in all the ways that
are right and wrong."""

import base64
import textwrap
from random import Random
from typing import Any
from urllib.parse import quote

from .bombs import BOMBS
from .files import NAMES, harmed, media_type, real
from .shot import CHAT, COMPLETIONS, Shot, chat, data_url, post

_URLS = (
    "http://127.0.0.1:1/a.png", "http://localhost/a.png", "http://[::1]/",
    "http://[2600::5efe:127.0.0.1]/",
    "http://0/", "http://0x7f.1/",
    "http://169.254.169.254/latest/meta-data/", "file:///etc/hostname", "file:demo.png",
    "ftp://a/b", "gopher://a",
    "javascript:1", "//a/b",
    "http://", "http://a" + "b" * 5000, "http://a:99999/", "http://user:pass@127.0.0.1/",
    "http://\u2488.0.0.1/",
    "http:\\\\127.0.0.1", "data:",
    "data:,", "data:image/png", "data:image/png;base64", "data:image/png;base64,",
    "data:;base64,AAAA",
    "data:image/svg+xml,<svg/>", "", " ",
    "http://a.invalid/x", "https://127.0.0.1:1/", "/etc/hostname", "http://%00/",
    "http://a\r\nX: y/",
    "http://[fe80::1%25lo]/", "blob:a", "data:a,%zz",
)  # fmt: skip

_TYPES = ("", "image", "a/b/c", "image/" + "a" * 5000, "text/html")


def draw_media(draw: Random, biggest: int) -> Shot:
    match draw.randrange(20):
        case 0 | 1:
            url = draw.choice(_URLS)
            return _shown(draw, f"url {url[:60]!r}", draw.choice(("image", "video", "audio")), url)
        case 2:
            return _many(draw)
        case 3 | 4 | 5 | 6 | 7:
            what, data = draw.choice(BOMBS)(draw)
            name = "png"
        case _:
            name = draw.choice(NAMES)
            what, data = harmed(draw, real(name))
            what = f"{name}: {what}"
    kind = media_type(name)
    modality = (
        kind.partition("/")[0] if draw.random() < 0.9 else draw.choice(("image", "video", "audio"))
    )
    written, url = _written(draw, kind, data)
    return _shown(draw, f"{what} ({len(data):,} bytes){written}", modality, url)


def _shown(draw: Random, what: str, modality: str, url: str) -> Shot:
    part: dict[str, Any] = {"type": f"{modality}_url", f"{modality}_url": {"url": url}}
    if modality == "audio" and draw.random() < 0.3:
        data = url.partition(",")[2] if draw.random() < 0.8 else url
        part = {
            "type": "input_audio",
            "input_audio": {"data": data, "format": draw.choice(("wav", "mp3", "none", None))},
        }
    body = chat([part, {"type": "text", "text": "What is it?"}])
    if draw.random() < 0.2:
        body["mm_processor_kwargs"] = draw.choice(_OPTIONS)
    if draw.random() < 0.1:
        body["media_io_kwargs"] = draw.choice(_OPTIONS)
    if draw.random() < 0.1:
        part["uuid"] = draw.choice(("a", "", "../a", "\x00", "x" * 5000))
    if draw.random() < 0.3:
        body["stream"] = True
    return post(f"{what} as {part['type']}", CHAT, body)


_OPTIONS: tuple[dict[str, Any], ...] = (
    {"max_pixels": 1}, {"min_pixels": 10**9}, {"max_pixels": -1}, {"max_pixels": 1 << 70},
    {"fps": 1e-9},
    {"fps": 10**9}, {"num_frames": 0},
    {"num_frames": 10**9}, {"do_resize": False}, {"image": {"rotate": 90}},
    {"video": {"num_frames": -1}},
    {"video": {"fps": 1e300}},
    {"images_kwargs": {"max_pixels": 10**12}}, {"use_audio_in_video": True}, {"sampling_rate": 1},
    {"nothing": []},
    {"video": 7},
)  # fmt: skip


def _many(draw: Random) -> Shot:
    """Many items at once, of one file or of several."""
    names = [draw.choice(NAMES) for _ in range(draw.choice((2, 5, 40)))]
    parts: list[dict[str, Any]] = []
    for name in names:
        data = real(name) if draw.random() < 0.7 else harmed(draw, real(name))[1]
        kind = media_type(name)
        field = f"{kind.partition('/')[0]}_url"
        parts.append({"type": field, field: {"url": data_url(kind, data)}})
    if draw.random() < 0.2:
        return post(
            "a picture in plain completions", COMPLETIONS, {"prompt": parts, "max_tokens": 4}
        )
    return post(f"{len(parts)} items: {', '.join(names)[:60]}", CHAT, chat(parts))


def _written(draw: Random, kind: str, data: bytes) -> tuple[str, str]:
    """The file as a data URL: mostly as it should be, else as some encoder writes it, or as none
    does."""
    plain = base64.b64encode(data).decode()
    match draw.choices(range(13), (40, *([2] * 12)))[0]:
        case 1:
            return ", in lines", f"data:{kind};base64," + "\n".join(
                textwrap.wrap(plain[:100_000], 76)
            )
        case 2:
            return ", without padding", f"data:{kind};base64," + plain.rstrip("=")
        case 3:
            return ", urlsafe", f"data:{kind};base64," + base64.urlsafe_b64encode(data).decode()
        case 4:
            return ", with spaces", f"data:{kind};base64, " + plain + " \t\r\n"
        case 5:
            return ", percent-encoded", f"data:{kind};base64," + quote(plain[:100_000], safe="")
        case 6:
            at = draw.randrange(len(plain) + 1)
            bad = draw.choice("*-!é=\x00")
            return ", with a bad character", f"data:{kind};base64,{plain[:at]}{bad}{plain[at:]}"
        case 7:
            return ", encoded twice", data_url(kind, plain.encode())
        case 8:
            return ", cut", f"data:{kind};base64," + plain[: draw.randrange(len(plain) + 1)]
        case 9:
            return (
                ", of no type",
                f"data:{draw.choice(_TYPES)};base64,{plain}",
            )
        case 10:
            return ", not as base64", f"data:{kind}," + quote(data[:50_000])
        case 11:
            return ", bare", plain
        case 12:
            return ", padded", f"data:{kind};base64," + plain + "=" * draw.choice(
                (1, 2, 3, 100_000)
            )
    return "", data_url(kind, data)
