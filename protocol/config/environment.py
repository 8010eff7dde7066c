"""The THESPIS_* variables: each field of `Environment` is one. Read in `divide`
(protocol/config/division.py) and nowhere else.

An unset variable gives way to its twin, VLLM_* of the same name, and that to the default. The page
in the docs is printed from here (`scripts/dev environment`).
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_type_hints

import msgspec

from ..errors import EngineError

OURS, TWIN = "THESPIS_", "VLLM_"
NO_LIMIT = 1 << 62
"""What 0 means for a cap that 0 switches off."""


def _field(
    text: str, unit: str, gt: float | None = None, ge: float | None = None, lt: float | None = None
) -> msgspec.Meta:
    """What the variable is for, its unit, and its bounds."""
    if ge is not None:
        return msgspec.Meta(description=text, extra={"unit": unit}, ge=ge, lt=lt)
    return msgspec.Meta(description=text, extra={"unit": unit}, gt=gt, lt=lt)


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is set by the environment, with its default."""

    api_key: Annotated[
        str,
        _field(
            "key that callers of the server must send, unless flags name keys (--api-key, "
            "--api-key-file)",
            "text",
        ),
    ] = ""
    image_fetch_timeout: Annotated[
        float, _field("whole fetch of an image, retries included", "seconds", gt=0)
    ] = 5.0
    video_fetch_timeout: Annotated[float, _field("the same for a video", "seconds", gt=0)] = 30.0
    audio_fetch_timeout: Annotated[float, _field("the same for audio", "seconds", gt=0)] = 10.0
    media_fetch_max_retries: Annotated[
        int,
        _field(
            "more attempts after a timeout, a broken connection, or status 408, 429 or 5xx",
            "attempts",
            ge=0,
        ),
    ] = 3
    media_url_allow_redirects: Annotated[
        bool, _field("follow up to 3 redirects, each checked like the first URL", "0 or 1")
    ] = True
    media_cache: Annotated[
        str,
        _field(
            "folder that keeps downloads across requests (--media-cache); empty: none are kept",
            "path",
        ),
    ] = ""
    media_cache_max_size_mb: Annotated[
        float,
        _field(
            "most that the folder may hold (--media-cache-max-size-mb)", "MiB", gt=0, lt=1 << 40
        ),
    ] = 5120.0
    media_cache_ttl_hours: Annotated[
        float,
        _field(
            "longest time that a download is kept there (--media-cache-ttl-hours)",
            "hours",
            gt=0,
            lt=1 << 40,
        ),
    ] = 24.0
    max_media_download_size_mb: Annotated[
        float, _field("one download or local file; 0: no cap", "MiB", ge=0, lt=1 << 40)
    ] = 256.0
    max_image_pixels: Annotated[
        int,
        _field(
            "one image or frame, read from the header before decoding; 0: no cap", "pixels", ge=0
        ),
    ] = 178_956_970
    max_audio_decode_duration_s: Annotated[
        float, _field("one audio item; 0: no cap", "seconds", ge=0)
    ] = 600.0
    max_audio_decode_bytes: Annotated[
        int, _field("one audio item as float32 samples; 0: no cap", "bytes", ge=0)
    ] = 256 << 20
    max_embed_decode_bytes: Annotated[
        int, _field("embeddings of one item; 0: no cap", "bytes", ge=0)
    ] = 2 << 30
    max_video_duration_s: Annotated[float, _field("one video; 0: no cap", "seconds", ge=0)] = 300.0
    max_video_decode_pixels: Annotated[
        int,
        _field(
            "all frames of one video together, read from its headers; 0: no cap", "pixels", ge=0
        ),
    ] = 40_000_000_000
    image_decode_timeout: Annotated[
        float, _field("CPU time of decoding one image, and no more than the next", "seconds", gt=0)
    ] = 10.0
    media_decode_timeout: Annotated[
        float,
        _field(
            "CPU time of decoding one item; a worker that takes half as long again by the clock "
            "is replaced",
            "seconds",
            gt=0,
        ),
    ] = 60.0
    media_decode_memory_mb: Annotated[
        float, _field("memory that decoding one item may add to a worker", "MiB", gt=0, lt=1 << 40)
    ] = 2048.0


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


KEYS = (*names_of("api_key"), "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables that no process of an engine gets."""


def cap(value: float, unit: int = 1) -> int:
    """`value` in single units; 0 is no limit."""
    return int(value * unit) or NO_LIMIT


def page() -> str:
    """docs/environment.md."""
    lines = [
        "# Environment variables",
        "",
        "These are read once, when an engine starts. If `THESPIS_X` is unset, `VLLM_X` is used "
        "instead. A flag or keyword",
        "argument of the same name overrides both. With an invalid value the engine does not "
        "start.",
        "",
        "| variable | default | unit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    defaults = Environment()
    for field, hint in get_type_hints(Environment, include_extras=True).items():
        meta = get_args(hint)[1]
        default = getattr(defaults, field)
        shown = (
            int(default)
            if isinstance(default, bool)
            else f"{default:.0f}"
            if isinstance(default, float)
            else default
        )
        lines.append(
            f"| `{names_of(field)[0]}` | {shown} | {meta.extra['unit']} | {meta.description} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
