"""The requests, as the bytes of each: half of them text alone; pictures, large pictures and sounds
share the rest."""

import base64
import io
import json
import random
import wave
from typing import Any

from ..asking import TEXT, conversation, picture_part, picture_url, text_part

DISTINCT = 48
"""Requests that are told apart; each is sent again and again."""
SMALL, LARGE = 84, 224
"""Pixels of a picture's sides. The large ones are not compressed: 150 KB."""
SAMPLE_RATE = 16_000


def make_requests(seed: int, max_tokens: int, model: str) -> list[bytes]:
    draw = random.Random(seed)
    return [_request(_parts(draw, number), max_tokens, model) for number in range(DISTINCT)]


def _parts(draw: random.Random, number: int) -> list[dict[str, Any]]:
    text = text_part(" ".join(draw.choices(TEXT.split(), k=4 * draw.randint(1, 8))))
    match number % 8:
        case 1 | 5:
            return [text, picture_part(picture_url(draw.randrange(1 << 30), SMALL))]
        case 3:
            return [text, picture_part(_url("image/bmp", _bitmap(draw)))]
        case 7:
            sound = {"data": _base64(_sound(draw)), "format": "wav"}
            return [text, {"type": "input_audio", "input_audio": sound}]
        case _:
            return [text]


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{_base64(data)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bitmap(draw: random.Random) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("RGB", (LARGE, LARGE), draw.randbytes(3 * LARGE * LARGE)).save(file, "BMP")
    return file.getvalue()


def _sound(draw: random.Random) -> bytes:
    """A second of noise."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes(draw.randbytes(2 * SAMPLE_RATE))
    return file.getvalue()


def _request(parts: list[dict[str, Any]], max_tokens: int, model: str) -> bytes:
    options = {"model": model, "ignore_eos": True, "temperature": 0, "stream": True}
    body = json.dumps({**conversation(*parts), **options, "max_tokens": max_tokens}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        f"application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
