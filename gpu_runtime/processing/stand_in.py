"""Classes of transformers that ask for torchvision, without it: they run over `kernels`, which give
the same numbers.

transformers decides once, when it is imported, whether torchvision is there. Where it is not, every
class that needs it is a dummy, though its file could be read: this module reads it, with `kernels`
in the place of what the file imports. Nothing else of the process is told that there was a
torchvision, so that every other name keeps the meaning it has without.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import transformers
from transformers import (
    image_processing_backends,
    image_processing_utils,
    image_utils,
    processing_utils,
    video_processing_utils,
)
from transformers.models.auto import image_processing_auto, processing_auto, video_processing_auto

from ...protocol.errors import EngineError
from .. import families
from . import kernels, lent

_utils: Any = transformers.utils  # what is lent and asked here, its types do not tell
_backends: Any = image_processing_backends
_BASES: tuple[Any, ...] = (_backends, image_processing_utils, video_processing_utils)
_MODES: tuple[Any, ...] = (image_utils, _backends)
_DECIDED = (image_processing_auto, processing_auto, video_processing_auto)
"""Imported before anything stands in: what they choose where nobody asks must not change."""
_PACKAGES = ("torchvision", "torchvision.transforms", "torchvision.transforms.v2")
_QUESTIONS = ("is_torchvision_available", "is_torchvision_v2_available")


def find_class(name: str) -> type[Any] | None:
    """A class by its name in transformers, or among ours; None: neither. Raises EngineError for one
    that cannot be imported."""
    found = families.CLASSES.get(name) or getattr(transformers, name, None)
    if not isinstance(found, type):
        return None
    if not getattr(found, "is_dummy", False):
        _complete(found)
        return found
    missing = [str(one) for one in getattr(found, "_backends", ()) if one != "torchvision"]
    if missing:
        raise EngineError(
            f"{name} of transformers needs packages that are not installed: {', '.join(missing)}."
        )
    real = getattr(_module(found.__module__, name), name)
    assert isinstance(real, type)
    _complete(real)
    return real


def _complete(kind: type[Any]) -> None:
    """Give the class's file what it looked for in packages that are not here."""
    path = kind.__module__
    if path.endswith("feature_extraction_granite_speech") and not _utils.is_torchaudio_available():
        sys.modules[path].__dict__.update(torchaudio=lent.AUDIO, requires_backends=_yes)
    if path.endswith("processing_smolvlm") and not sys.modules[path].__dict__.get("num2words"):
        sys.modules[path].__dict__.update(num2words=lent.number_words)


def _module(path: str, name: str) -> ModuleType:
    _lend()
    try:
        with _standing_in():
            return import_module(path)
    except (ImportError, AttributeError) as error:
        raise EngineError(
            f"{name} of transformers needs more of torchvision than the engine's own kernels: "
            f"install one that fits torch."
        ) from error


@contextmanager
def _standing_in() -> Iterator[None]:
    """`kernels` under torchvision's names, and a yes to who asks for it, for as long as a file is
    imported."""
    packages = {name: ModuleType(name) for name in _PACKAGES}
    for name, package in packages.items():
        package.__path__ = []
        package.__dict__.update(InterpolationMode=kernels.InterpolationMode, functional=kernels)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(packages[parent], child, package)
    modules = {**packages, **{f"{name}.functional": kernels for name in _PACKAGES[1:]}}
    answers = {name: getattr(_utils, name) for name in _QUESTIONS}
    sys.modules.update(modules)
    _utils.__dict__.update(dict.fromkeys(_QUESTIONS, _yes))
    try:
        yield
    finally:
        _utils.__dict__.update(answers)
        for name in modules:
            sys.modules.pop(name, None)


@cache
def _lend() -> None:
    """Give the base classes what they would have imported themselves."""
    for module in _BASES:
        module.tvF = kernels
    modes = {mode.name: mode for mode in kernels.InterpolationMode}
    modes["NEAREST"] = kernels.InterpolationMode.NEAREST_EXACT
    ours = {pil: modes[pil.name] for pil in image_utils.PILImageResampling if pil.name in modes}
    for module in _MODES:
        module.pil_torch_interpolation_mapping = ours
        module.torch_pil_interpolation_mapping = {mode: pil for pil, mode in ours.items()}
    _backends.is_torchvision_greater_or_equal = _yes  # asked before the Lanczos kernel is used
    # Without torchvision its own base class has no public name; it derives from this one.
    processing_utils.MODALITY_TO_BASE_CLASS_MAPPING["video_processor"] = "ImageProcessingMixin"


def _yes(*_: object) -> bool:
    return True
