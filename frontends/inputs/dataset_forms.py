"""Media in dicts, as `datasets` and pipelines hold them: `array`, `sampling_rate`, `bytes`."""

from collections.abc import Mapping
from typing import Any

from ...protocol.errors import invalid
from ...protocol.requests.request import Modality

_SAMPLES = ("array", "raw")
_KNOWN = {*_SAMPLES, "sampling_rate", "bytes", "path"}


def is_dataset_form(modality: Modality, given: Mapping[Any, Any]) -> bool:
    """Whether it is one item in such a form, rather than embeddings."""
    return not _KNOWN.isdisjoint(given) and f"{modality}_embeds" not in given


def read_dataset_form(modality: Modality, given: Mapping[Any, Any], where: str) -> Any:
    """The item: a file's bytes, an array, or (samples, sampling rate). Raises RequestError."""
    unknown = [key for key in given if key not in _KNOWN]
    if unknown:
        text = (
            f"Beside its data the dict has {unknown[0]!r}, which is not known; it may have "
            f"{', '.join(sorted(_KNOWN))}."
        )
        raise invalid(text, where)
    name = next((name for name in _SAMPLES if given.get(name) is not None), None)
    if name is not None:
        return _samples(modality, given, name, where)
    data = given.get("bytes")
    if isinstance(data, bytes | bytearray | memoryview):
        return data
    if data is not None:
        raise invalid("'bytes' must be the bytes of a file.", where)
    if given.get("path") is not None:
        text = (
            f"A dict with a path alone is not read; give the file's bytes, or a {modality}_url "
            f"part with a file:// URL."
        )
        raise invalid(text, where)
    raise invalid("The dict holds no data: give 'array' with 'sampling_rate', or 'bytes'.", where)


def _samples(modality: Modality, given: Mapping[Any, Any], name: str, where: str) -> Any:
    if modality != "audio":
        if given.get("sampling_rate") is not None:
            raise invalid(f"'sampling_rate' belongs to a sound, not to this {modality}.", where)
        return given[name]
    if given.get("sampling_rate") is None:
        raise invalid(f"'sampling_rate' is missing beside '{name}'.", where)
    return given[name], given["sampling_rate"]
