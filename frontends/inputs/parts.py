"""The content parts of a message in the OpenAI form. Every refusal names the part. Pure."""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from ...protocol.errors import invalid
from ...protocol.refusals import embeds_disabled
from ...protocol.requests.request import CLIP_FACTS, MODALITIES, Modality, Slot, Text, Url
from ..validation import expect_text
from .documents import FILE_TYPES, read_file
from .embeds import embeds_keys, read_embeds
from .media import Pending, Raw, filed, read_encoded, read_url
from .unread import Unread

log = logging.getLogger(__name__)

MAX_UUID = 128
"""Characters."""
TEXT_TYPES = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Types of parts that are text, and the field that holds it."""
URL_TYPES: dict[str, tuple[Modality, str]] = {
    "image_url": ("image", "image_url"),
    "input_image": ("image", "image_url"),
    "video_url": ("video", "video_url"),
    "input_video": ("video", "video_url"),
    "audio_url": ("audio", "audio_url"),
}
ID_TYPES: dict[str, tuple[Modality, str]] = {
    **URL_TYPES,
    "input_audio": ("audio", "input_audio"),
}
"""Types of parts that an uploaded file may stand for, by `file_id` beside the data or in its
place."""
EMBED_TYPES = {f"{modality}_embeds": modality for modality in MODALITIES}
RAW_TYPES: dict[str, Modality] = {str(name): name for name in MODALITIES}
RAW_TYPES["image_pil"] = "image"
"""From Python callers only: PIL pictures, arrays, tensors. The field has the name of the type."""
DATA_TYPES: dict[str, Modality] = {"input_audio": "audio", "input_video": "video"}
"""Types of parts whose data stand in a field of the type's name, with their `format`."""
BARE_KEYS = ("image_url", "video_url", "audio_url", *DATA_TYPES, "file", "document_url")
"""A part without a `type` that has one of these keys is of that type."""

OWN_OPTIONS: dict[Modality, tuple[str, ...]] = {
    "image": ("min_pixels", "max_pixels"),
    "video": ("min_pixels", "max_pixels", "fps", "num_frames", "do_sample_frames"),
    "audio": (),
}
"""Options of the model's processor that a part may have for itself, beside its data."""

RawReader = Callable[[Modality, Any, str], "bytes | Raw"]
"""Reads what only a Python caller can give: (modality, value, where). Raises RequestError."""


class Rules(NamedTuple):
    """What a face accepts beyond what every face accepts."""

    embeds: bool = False
    """Whether ready-made embeddings are enabled."""
    raw: RawReader | None = None
    """None: the caller is another program, whose media come as text."""


def read_part(
    part: Any, where: str, media: list[Pending], rules: Rules, unread: Unread
) -> Text | Slot:
    """A text, or the place of a medium, which is appended to `media`. Raises RequestError."""
    if isinstance(part, str):
        return Text(part)
    if not isinstance(part, Mapping):
        raise invalid("A content part must be an object with a `type`.", where, "wrong_type")
    kind = part.get("type")
    if kind is None:
        kind = next((key for key in (*BARE_KEYS, *EMBED_TYPES, "image_pil") if key in part), None)
        if kind is None:
            raise invalid("The part has no `type`.", f"{where}.type", "missing_field")
    if not isinstance(kind, str):
        raise invalid("Expected str.", f"{where}.type", "wrong_type")
    if kind in TEXT_TYPES:
        field = TEXT_TYPES[kind]
        unread.check(part, ("type", field), where)
        return Text(expect_text(part.get(field), f"{where}.{field}"))
    media.append(_read_medium(kind, part, where, rules, unread))
    return Slot(len(media) - 1)


def _read_medium(
    kind: str, part: Mapping[str, Any], where: str, rules: Rules, unread: Unread
) -> Pending:
    if kind in FILE_TYPES:
        return read_file(kind, part, where, rules.raw is not None, unread)
    uuid = _read_uuid(part, where)
    if (file := _read_file_id(kind, part, where, rules)) is not None:
        modality, field = ID_TYPES[kind]
        inside = part.get(field) if isinstance(part.get(field), Mapping) else {}
        return _pending(modality, field, file, part, (inside, "file_id"), where, unread)
    if kind in URL_TYPES and kind not in (DATA_TYPES.keys() & part.keys()):
        modality, field = URL_TYPES[kind]
        content = _read_url_field(part, field, modality, where, uuid)
        inside = part.get(field) if isinstance(part.get(field), Mapping) else {}
        return _pending(modality, field, content, part, (inside, "url"), where, unread)
    if kind in DATA_TYPES:
        inside, modality = part.get(kind) or {}, DATA_TYPES[kind]
        content = _read_data(kind, part, where, uuid)
        return _pending(modality, kind, content, part, (inside, "data", "format"), where, unread)
    if kind in EMBED_TYPES:
        modality = EMBED_TYPES[kind]
        content = _read_embeds(kind, part, where, rules)
        inside = part.get(kind) if isinstance(part.get(kind), Mapping) else {}
        return _pending(
            modality, kind, content, part, (inside, *embeds_keys(modality)), where, unread
        )
    if kind in RAW_TYPES and rules.raw is not None:
        value, modality = _given(part, kind, where), RAW_TYPES[kind]
        content = None if value is None else rules.raw(modality, value, where)
        return _pending(modality, kind, content, part, ({},), where, unread)
    if kind == "image_pil":
        text = (
            "Parts of type image_pil are for LLM.chat in Python; here a picture comes as image_url."
        )
        raise invalid(text, f"{where}.type", "unknown_part")
    known = ", ".join(
        (
            *TEXT_TYPES,
            *URL_TYPES,
            "input_audio",
            "file",
            "input_file",
            "document_url",
            *EMBED_TYPES,
            *((*RAW_TYPES, "document") if rules.raw else ()),
        )
    )
    raise invalid(f"Unknown type of part; known: {known}.", f"{where}.type", "unknown_part")


def _pending(
    modality: Modality,
    field: str,
    content: bytes | Raw | Url | None,
    part: Mapping[str, Any],
    inner: tuple[Any, ...],
    where: str,
    unread: Unread,
) -> Pending:
    """The item with its own options. `inner`: the object in `field`, and its other keys."""
    inside, *names = inner
    own, facts = _extras(modality, field, content)
    for given, at in ((part, where), (inside, f"{where}.{field}")):
        if given.get("detail") not in (None, "auto"):
            unread.tell(f"{at}.detail")
            _warn_of_detail()
    beside = names if field in EMBED_TYPES or "file_id" in names else ()
    unread.check(
        part,
        ("type", "uuid", field, "detail", *own, *facts, *beside),
        where,
    )
    unread.check(inside, ("detail", *names, *own, *facts), f"{where}.{field}")
    options: dict[str, Any] = {}
    for name in own:
        value, at = part.get(name), f"{where}.{name}"
        if name in inside:
            value, at = inside[name], f"{where}.{field}.{name}"
        if value is not None:
            if not isinstance(value, bool | int | float) or not -(1 << 63) <= value < 1 << 63:
                raise invalid("Expected a number.", at, "wrong_type")
            options[name] = value
    return Pending(modality, content, where, part.get("uuid"), options)


@cache
def _warn_of_detail() -> None:
    """Only once: a caller that sends it sends it every time."""
    log.warning("`detail` has no effect: pictures are processed as the model wants them")


def _extras(
    modality: Modality, field: str, content: bytes | Raw | Url | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options that such an item may have, and what may be said of a list of frames."""
    if modality != "video":
        return ((), ()) if field in EMBED_TYPES else (OWN_OPTIONS[modality], ())
    if field in EMBED_TYPES:
        return ("fps",), ()
    if field == "video_url" and isinstance(content, Raw):
        return tuple(name for name in OWN_OPTIONS["video"] if name not in CLIP_FACTS), CLIP_FACTS
    return OWN_OPTIONS["video"], ()


def _given(part: Mapping[str, Any], field: str, where: str) -> Any:
    """The field's value, which may be null. Raises RequestError where a uuid is missing, too."""
    if field not in part and part.get("uuid") is None:
        raise invalid("This field is required.", f"{where}.{field}", "missing_field")
    return part.get(field)


def _read_file_id(kind: str, part: Mapping[str, Any], where: str, rules: Rules) -> Url | None:
    """None: the part brings its data otherwise."""
    if kind not in ID_TYPES:
        return None
    field = ID_TYPES[kind][1]
    value, at = part.get(field), where
    inside = value if isinstance(value, Mapping) else {}
    id = part.get("file_id")
    if inside.get("file_id") is not None:
        if id is not None:
            raise invalid("It comes twice.", f"{where}.file_id", "contradicting_fields")
        id, at = inside["file_id"], f"{where}.{field}"
    if id is None:
        return None
    if isinstance(value, str) or not {"url", "data"}.isdisjoint(inside):
        text = "It stands for the data: leave one of them out."
        raise invalid(text, f"{at}.file_id", "contradicting_fields")
    if rules.raw is not None:
        text = "Files are uploaded to a server; here the data itself is given."
        raise invalid(text, f"{at}.file_id", "unknown_part")
    if len(expect_text(id, f"{at}.file_id")) > MAX_UUID:
        raise invalid("This is no id of a file.", f"{at}.file_id", "invalid_file_id")
    return filed(id)


def _read_embeds(
    kind: str, part: Mapping[str, Any], where: str, rules: Rules
) -> "bytes | Raw | None":
    if not rules.embeds:
        raise embeds_disabled(kind, where)
    value = _given(part, kind, where)
    if value is None:
        return None
    entry = value if isinstance(value, Mapping) else {kind: value}
    if rules.raw is None:
        expect_text(entry.get(kind), f"{where}.{kind}")
    return read_embeds(EMBED_TYPES[kind], {**part, **entry}, where)


def _read_uuid(part: Mapping[str, Any], where: str) -> str | None:
    uuid = part.get("uuid")
    if uuid is None:
        return None
    if not 1 <= len(expect_text(uuid, f"{where}.uuid")) <= MAX_UUID:
        raise invalid(f"A uuid has 1 to {MAX_UUID} characters.", f"{where}.uuid", "invalid_uuid")
    return str(uuid)


def _read_url_field(
    part: Mapping[str, Any], field: str, modality: Modality, where: str, uuid: str | None
) -> "bytes | Raw | Url | None":
    value, name, about = _given(part, field, where), field, part
    if isinstance(value, Mapping):
        about = {**part, **value}
        value, name = value.get("url"), f"{field}.url"
        if value is None and uuid is None:
            raise invalid("This field is required.", f"{where}.{name}", "missing_field")
    if value is None:
        return None
    return read_url(expect_text(value, f"{where}.{name}"), modality, where, about)


def _read_data(kind: str, part: Mapping[str, Any], where: str, uuid: str | None) -> bytes | None:
    value = _given(part, kind, where)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise invalid(
            "Expected an object with `data` and `format`.", f"{where}.{kind}", "wrong_type"
        )
    data = value.get("data")
    if data is None and uuid is not None:
        return None
    return read_encoded(expect_text(data, f"{where}.{kind}.data"), DATA_TYPES[kind], where)
