"""The THESPIS_* variables: each field of `Environment` is one. Read in `divide`
(protocol/config/division.py) and nowhere else.

An unset variable gives way to its twin, VLLM_* of the same name, and that to the default. The page
in the docs is printed from here (page.py, `scripts/dev environment`). Flags have variables of their
own (settings.py).
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

import msgspec

from ..errors import EngineError

OURS, TWIN = "THESPIS_", "VLLM_"
NO_LIMIT = 1 << 62
"""What 0 means for a cap that 0 switches off."""


def _field(
    unit: str, gt: float | None = None, ge: float | None = None, lt: float | None = None
) -> msgspec.Meta:
    """A variable's unit, and its bounds."""
    if ge is not None:
        return msgspec.Meta(extra={"unit": unit}, ge=ge, lt=lt)
    return msgspec.Meta(extra={"unit": unit}, gt=gt, lt=lt)


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is set by the environment, with its default and what it is for."""

    api_key: Annotated[str, _field("text")] = ""
    """key that callers of the server must send, unless flags name keys (--api-key,
    --api-key-file)"""
    ssl_keyfile_password: Annotated[str, _field("text")] = ""
    """password of the server's private key (--ssl-keyfile)"""
    image_fetch_timeout: Annotated[float, _field("seconds", gt=0)] = 5.0
    """whole fetch of an image, retries included"""
    video_fetch_timeout: Annotated[float, _field("seconds", gt=0)] = 30.0
    """the same for a video"""
    audio_fetch_timeout: Annotated[float, _field("seconds", gt=0)] = 10.0
    """the same for audio"""
    document_fetch_timeout: Annotated[float, _field("seconds", gt=0)] = 30.0
    """the same for a document"""
    media_fetch_max_retries: Annotated[int, _field("attempts", ge=0)] = 3
    """more attempts after a timeout, a broken connection, or status 408, 429 or 5xx"""
    media_url_allow_redirects: Annotated[bool, _field("0 or 1")] = True
    """follow up to 3 redirects, each checked like the first URL"""
    media_cache: Annotated[str, _field("path")] = ""
    """folder that keeps downloads across requests (--media-cache); empty: none are kept"""
    media_cache_max_size_mb: Annotated[float, _field("MiB", gt=0, lt=1 << 40)] = 5120.0
    """most that the folder may hold (--media-cache-max-size-mb)"""
    media_cache_ttl_hours: Annotated[float, _field("hours", gt=0, lt=1 << 40)] = 24.0
    """longest time that a download is kept there (--media-cache-ttl-hours)"""
    max_media_download_size_mb: Annotated[float, _field("MiB", ge=0, lt=1 << 40)] = 256.0
    """one download or local file; 0: no cap"""
    max_image_pixels: Annotated[int, _field("pixels", ge=0)] = 178_956_970
    """one image or frame, read from the header before decoding; 0: no cap"""
    max_audio_decode_duration_s: Annotated[float, _field("seconds", ge=0)] = 600.0
    """one audio item; 0: no cap"""
    max_transcription_duration_s: Annotated[float, _field("seconds", ge=0)] = 14_400.0
    """one sound of a transcription, which is decoded piece by piece; 0: no cap"""
    max_audio_decode_bytes: Annotated[int, _field("bytes", ge=0)] = 256 << 20
    """one audio item as float32 samples; 0: no cap"""
    max_embed_decode_bytes: Annotated[int, _field("bytes", ge=0)] = 2 << 30
    """embeddings of one item; 0: no cap"""
    max_video_duration_s: Annotated[float, _field("seconds", ge=0)] = 300.0
    """one video; 0: no cap"""
    max_video_decode_pixels: Annotated[int, _field("pixels", ge=0)] = 40_000_000_000
    """all frames of one video together, read from its headers; 0: no cap"""
    max_document_pages: Annotated[int, _field("pages", ge=0)] = 1000
    """pages that one document may bring; 0: no cap"""
    image_decode_timeout: Annotated[float, _field("seconds", gt=0, lt=1 << 32)] = 10.0
    """CPU time of decoding one image, and no more than the next"""
    page_decode_timeout: Annotated[float, _field("seconds", gt=0, lt=1 << 32)] = 3.0
    """CPU time of drawing one page of a document, or of reading the texts of 16; a page drawn
    larger has as much again for every 100 million pixels, and none has more than an image"""
    media_decode_timeout: Annotated[float, _field("seconds", gt=0, lt=1 << 32)] = 60.0
    """CPU time of decoding one item; a worker that takes half as long again by the clock is
    replaced"""
    media_decode_memory_mb: Annotated[float, _field("MiB", gt=0, lt=1 << 40)] = 2048.0
    """memory that decoding one item may add to a worker"""


def read(environ: Mapping[str, str] | None = None) -> Environment:
    """Raises EngineError naming the variable that holds no value of its kind."""
    table = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for field, hint in get_type_hints(Environment, include_extras=True).items():
        name = next((name for name in names_of(field) if table.get(name)), None)
        if name is None:
            continue
        try:
            values[field] = msgspec.convert(table[name].strip(), hint, strict=False)
        except msgspec.ValidationError as error:
            raise EngineError(f"{name} is {table[name]!r}. {error}.") from None
    return Environment(**values)


def names_of(field: str) -> tuple[str, str]:
    """Our own name goes first."""
    return OURS + field.upper(), TWIN + field.upper()


OTLP_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""OpenTelemetry's own variables of what proves who sends spans; the first that is set counts."""
KEYS = (
    *names_of("api_key"),
    *names_of("ssl_keyfile_password"),
    *OTLP_HEADERS,
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)
"""Variables that no process of an engine gets: what they hold goes to the one that needs it."""


def cap(value: float, unit: int = 1) -> int:
    """`value` in single units; 0 is no limit."""
    return int(value * unit) or NO_LIMIT
