"""Hostile forms with a sound: files that are none or lie about themselves, and fields of every
kind."""

import io
import struct
import wave
from random import Random

from .bodies import size_of
from .shot import Shot, chunked, request

PATHS = ("/v1/audio/transcriptions", "/v1/audio/translations")
_VALUES = (
    "", "0", "1", "-1", "1e308", "nan", "inf", "true", "null", "[]", "\x00", "é", "x" * 3000,
    "<|im_end|>", "{}", "\u0663", "auto", "srt", "vtt", "json", "verbose_json", "text",
    "diarized_json", "word", "segment", "logprobs", "en", "xx", "English",
)  # fmt: skip
_FIELDS = (
    "model", "language", "languages[]", "prompt", "keywords[]", "response_format", "temperature",
    "timestamp_granularities[]", "include[]", "stream", "chunking_strategy",
    "chunking_strategy[type]", "known_speaker_names[]", "piece_seconds", "seed", "top_k", "stop[]",
    "max_completion_tokens", "max_tokens", "priority", "request_id", "max_words", "file[]", "",
)  # fmt: skip
_MAGIC = (
    b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC\x00\x00\x00\x22", b"OggS\x00\x02", b"ID3\x04\x00\x00",
    b"\xff\xfb\x90\x64", b"\x1aE\xdf\xa3", b"\x00\x00\x00\x18ftypM4A ", b"%PDF-1.7", b"\x89PNG",
)  # fmt: skip


def draw_sounds(draw: Random, biggest: int) -> Shot:
    content, what = _file(draw, biggest)
    parts = [(f'name="file"; filename="{draw.choice(("a.wav", "../x", "", "x" * 3000))}"', content)]
    parts *= draw.choice((1, 1, 1, 1, 0, 2))
    named = draw.choices(_FIELDS, k=draw.choice((0, 1, 1, 2, 3, 30)))
    parts += [(f'name="{name}"', draw.choice(_VALUES).encode()) for name in named]
    parts.append(('name="max_completion_tokens"', b"2"))
    draw.shuffle(parts)
    body = b"".join(
        f"--b\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode() + data + b"\r\n"
        for about, data in parts
    )
    body += b"--b--\r\n"
    if draw.random() < 0.15:
        body = body[: draw.randrange(len(body))]
    path, kind = draw.choice(PATHS), "multipart/form-data; boundary=b"
    told = f"{what} for {path}, with {', '.join(named)}"[:200]
    if draw.random() < 0.2:
        pieces = chunked(path, body, draw.choice((7, 1000, 65_536)))
        pieces[0] = pieces[0].replace(b"application/json", kind.encode())
        return Shot(what=told, pieces=pieces)
    return Shot(what=told, pieces=request(path, body, kind=kind))


def _file(draw: Random, biggest: int) -> tuple[bytes, str]:
    match draw.choice(("noise", "magic", "whole", "cut", "lie", "long")):
        case "noise":
            return draw.randbytes(min(size_of(draw, biggest), 1 << 18)), "noise"
        case "magic":
            return draw.choice(_MAGIC) + draw.randbytes(draw.randrange(4000)), "a head and noise"
        case "whole":
            return _wav(draw, draw.choice((0.01, 0.5, 3.0))), "a sound"
        case "cut":
            whole = _wav(draw, 1.0)
            return whole[: draw.randrange(len(whole))], "half a sound"
        case "lie":
            head = bytearray(_wav(draw, 0.2))
            at, lie = draw.choice((4, 22, 24, 28, 32, 34, 40)), draw.choice((0, 1, 0xFFFF))
            struct.pack_into("<H", head, at, lie)
            return bytes(head), "a sound with a wrong head"
        case _:
            return _wav(draw, 90.0, 1000), "a long sound"


def _wav(draw: Random, seconds: float, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(draw.randbytes(2 * int(rate * seconds)))
    return file.getvalue()
