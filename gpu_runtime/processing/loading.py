"""A checkpoint's own processor, from its folder alone: no code of the checkpoint runs, no address
is opened."""

from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig
from transformers.feature_extraction_utils import FeatureExtractionMixin
from transformers.image_processing_base import ImageProcessingMixin
from transformers.processing_utils import ProcessorMixin
from transformers.video_processing_utils import VideoProcessorMixin

from ...protocol.checkpoint.json_files import Json, read_object
from ...protocol.errors import EngineError
from ...protocol.requests.request import MODALITIES, Modality
from ..inspection import hf
from .calls import sub_processor
from .options import size_of, value_of
from .rules import rules_of
from .stand_in import find_class
from .types import Kind

_hf: Any = transformers  # untyped where it loads
_auto: Any = transformers.models.auto

SAFE: Json = {"trust_remote_code": False, "local_files_only": True}
_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer_config.json",
)
"""In the order in which they may name the processor's class."""
MOST_EDGE = 1 << 14
"""Pixels."""


def load_processor(folder: Path, config: PreTrainedConfig) -> Any:
    """A `ProcessorMixin`; None: the model takes text alone.

    Raises EngineError naming what the folder lacks, or what transformers does not have.
    """
    files = {name: read_object(folder, name) for name in _FILES}
    named = [str(found) for file in files.values() if (found := file.get("processor_class"))]
    kind = _processor_class(named[0] if named else None, folder, config)
    if kind is None:
        return None
    if "audio_tokenizer" in files[_FILES[0]]:
        raise EngineError(
            f"The processor of {str(folder)!r} needs a second model for sounds, which is not "
            f"supported."
        )
    return _build(kind, folder, config)


def _processor_class(named: str | None, folder: Path, config: PreTrainedConfig) -> type[Any] | None:
    """The one that the folder names, where that is no tokenizer's; else its type's; None of a model
    of text alone."""
    for name in (named, _auto.processing_auto.PROCESSOR_MAPPING_NAMES.get(config.model_type)):
        if name is None:
            continue
        kind = find_class(name)
        if kind is None:
            raise EngineError(
                f"The processor {name!r} that {str(folder)!r} names is not in transformers "
                f"{transformers.__version__}."
            )
        if issubclass(kind, ProcessorMixin):
            return kind
    if any(hasattr(hf.model_class(config), f"get_{modality}_features") for modality in MODALITIES):
        said = f"{named!r}, which is no processor, is all that a file" if named else "No file"
        raise EngineError(
            f"{said} in {str(folder)!r} names as what makes its items: models of type "
            f"{config.model_type!r} take more than "
            "text. Write the processor's class into its processor_config.json (processor_class)."
        )
    return None


def _build(kind: type[Any], folder: Path, config: PreTrainedConfig) -> Any:
    try:
        said, _ = kind.get_processor_dict(str(folder), local_files_only=True)
        parts = [_part(kind, attribute, folder, config) for attribute in kind.get_attributes()]
        made = kind.from_args_and_dict(parts, {**_derived(kind, config, said), **said})
    except EngineError:
        raise
    except Exception as error:  # whatever one of a hundred classes says of values that do not fit
        why = f"{type(error).__name__}: {hf.said(error)}"
        raise EngineError(f"{kind.__name__} cannot be built from {str(folder)!r}: {why}") from error
    _refuse_endless(made, folder)
    if _says_size_of_clips(folder):  # some classes have bounds of their own, which would go before
        made.videos_kwargs = {**getattr(made, "videos_kwargs", {})}
        made.videos_kwargs.pop("size", None)
    return made


def _refuse_endless(processor: Any, folder: Path) -> None:
    """Raises EngineError for a size that every item would be brought to, however small, and that no
    memory holds."""
    modalities: tuple[Modality, ...] = ("image", "video")
    for modality in modalities:
        part = sub_processor(processor, modality)
        for field in ("size", "crop_size"):
            size = getattr(part, field, None) or {}
            is_area = value_of(size, "longest_edge") is not None  # the edges are bounds then
            is_area = is_area or size_of(processor, modality) is not None
            for name in ("height", "width", "shortest_edge"):
                edge = value_of(size, name)
                if isinstance(edge, int) and edge > (MOST_EDGE**2 if is_area else MOST_EDGE):
                    raise EngineError(
                        f"The {type(part).__name__} of {str(folder)!r} is broken: its {field} has "
                        f"{name}={edge}, which is beyond all measure."
                    )


def _says_size_of_clips(folder: Path) -> bool:
    own = read_object(folder, _FILES[0]).get("video_processor") or read_object(folder, _FILES[2])
    return any(own.get(name) is not None for name in ("size", "min_pixels", "max_pixels"))


def _part(kind: type[Any], attribute: str, folder: Path, config: PreTrainedConfig) -> Any:
    name = str(folder)
    if "tokenizer" in attribute:
        if "Pixtral" in kind.__name__:
            return _hf.TokenizersBackend.from_pretrained(name, **SAFE)
        return _hf.AutoTokenizer.from_pretrained(name, **SAFE)
    if attribute == "feature_extractor" and hasattr(kind, "extractor_for"):
        return kind.extractor_for(config)
    if attribute == "image_processor":
        return _image_processor(folder, config)
    if attribute == "video_processor":
        return _video_processor(kind, folder)
    said, _ = FeatureExtractionMixin.get_feature_extractor_dict(name, local_files_only=True)
    known = _auto.feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES
    wanted = rules_of(kind).extractor or said.get("feature_extractor_type")
    wanted = wanted or known.get(config.model_type)
    if wanted is None:
        return _hf.AutoFeatureExtractor.from_pretrained(name, **SAFE)
    return _class(str(wanted), folder).from_dict(said)


def _image_processor(folder: Path, config: PreTrainedConfig) -> Any:
    """By Pillow where there is such a class, whatever the folder's file calls it."""
    said, _ = ImageProcessingMixin.get_image_processor_dict(str(folder), local_files_only=True)
    wanted = said.get("image_processor_type")
    if wanted is None:
        known = _auto.image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES
        names = known.get(config.model_type) or {}
        wanted = names.get("torchvision") or names.get("pil")
    if wanted is None:
        raise _unnamed("image", folder)
    base = _base(wanted)
    pil = find_class(f"{base}Pil")
    return (pil or _class(base, folder)).from_dict(said)


def _video_processor(kind: type[Any], folder: Path) -> Any:
    """By the class that the folder names; else the one that is called as its image processor; else
    its family's."""
    said, _ = VideoProcessorMixin.get_video_processor_dict(str(folder), local_files_only=True)
    named = said.get("video_processor_type")
    if named is not None:
        return _class(str(named), folder).from_dict(said)
    base = _base(said.pop("image_processor_type", ""))
    found = find_class(base.replace("ImageProcessor", "VideoProcessor")) if base else None
    return (found or _family_video_class(kind, folder)).from_dict(said)


def _family_video_class(kind: type[Any], folder: Path) -> type[Any]:
    family = kind.__module__.rpartition(".")[0]
    module = f"{family}.video_processing_{family.rpartition('.')[2]}"
    for name in dir(import_module(family)) if find_spec(module) is not None else ():
        found = find_class(name) if name.endswith("VideoProcessor") else None
        if found is not None and found.__module__ == module:
            return found
    raise _unnamed("video", folder)


def _base(name: object) -> str:
    """Of a class, whichever of its forms a file names."""
    return str(name).removesuffix("Fast").removesuffix("Pil")


def _unnamed(kind: Kind, folder: Path) -> EngineError:
    return EngineError(
        f"No file in {str(folder)!r} says which {kind} processor the model has "
        f"({kind}_processor_type)."
    )


def _class(name: str, folder: Path) -> type[Any]:
    """A file may name anything: what makes no features is not called."""
    found = find_class(name)
    if found is None or not issubclass(found, (ImageProcessingMixin, FeatureExtractionMixin)):
        raise EngineError(
            f"{name!r}, which a file in {str(folder)!r} names, is no class of transformers "
            f"{transformers.__version__} that makes features. Give a checkpoint that was converted "
            f"for it."
        )
    return found


def _derived(kind: type[Any], config: PreTrainedConfig, said: Json) -> Json:
    """What older folders leave to their model's configuration."""
    vision = getattr(config, "vision_config", None)
    known = {
        "patch_size": getattr(vision, "patch_size", None),
        "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", None),
        "num_additional_image_tokens": 1 if "clip" in str(getattr(vision, "model_type", "")) else 0,
    }
    if not known.keys() - {"patch_size"} <= signature(kind.__init__).parameters.keys():
        return {}
    lacking = {name: value for name, value in known.items() if said.get(name) is None}
    return {name: value for name, value in lacking.items() if value is not None}
