"""What a checkpoint folder is, found without torch: whether it is whole, of which type, and its
fingerprint."""

from pathlib import Path

import msgspec

from ..errors import EngineError
from .foreign import foreign_file, foreign_folder, foreign_name
from .json_files import read_object
from .quantization import quantization_of, refuse_foreign
from .weight_files import fingerprint

MODULES = "modules.json"
"""Of sentence-transformers: a folder that has it is of a model that makes vectors."""


def demo_model() -> Path:
    """The bundled checkpoint, in a checkout and in an installed wheel alike."""
    return Path(__file__).resolve().parents[2] / "demo_model"


_TEKKEN = (
    "Make a tokenizer.json of it: `pip install mistral-common`, and in the model's folder "
    '`python -c "from '
    "transformers.integrations.mistral.tokenizer import convert_tekken_tokenizer; "
    "convert_tekken_tokenizer('tekken.json').save_pretrained('.')\"`."
)


class CheckpointFolder(msgspec.Struct, frozen=True):
    """A checkpoint of which nothing is known but that it is whole and what it says of its type."""

    path: str
    model_type: str
    fingerprint: str
    """Hex digest of configuration and weights."""


def inspect(path: str | Path) -> CheckpointFolder:
    """Look at a checkpoint folder without reading what is in its weights.

    Raises EngineError that says what is missing or broken, and what to do.
    """
    folder, model_type = inspect_small_files(path)
    return CheckpointFolder(str(folder.resolve()), model_type, fingerprint(folder))


def inspect_small_files(path: str | Path) -> tuple[Path, str]:
    """As `inspect`, of a folder that may have no weights yet: where it lies, and its type."""
    name = str(path)
    folder = _folder(name)
    config = read_object(folder, "config.json")
    if not (folder / "config.json").exists():
        raise EngineError(f"{name!r} is no checkpoint folder: it has no config.json.")
    quantization_of(config, name)
    refuse_foreign(folder, config, name)
    if not isinstance(config.get("model_type"), str):
        raise EngineError(f"The config.json of {name!r} is broken: model_type is missing.")
    _check_tokenizer(folder, name)
    read_object(folder, "generation_config.json")
    return folder, config["model_type"]


def _folder(name: str) -> Path:
    """The folder of this name. Raises EngineError that says what it is instead."""
    try:
        folder = Path(name).expanduser()
        if not folder.exists():
            raise EngineError(foreign_name(name))
    # A name that is too long, holds a NUL, or a home that is nobody's.
    except (OSError, ValueError, RuntimeError):
        raise EngineError(foreign_name(name)) from None
    other = foreign_folder(folder, name) if folder.is_dir() else foreign_file(folder, name)
    if other is not None:
        raise EngineError(other)
    return folder


def _check_tokenizer(folder: Path, name: str) -> None:
    """That it is there and is JSON with a model; reading it is the detokenizer's and the
    preprocessor's business."""
    path = folder / "tokenizer.json"
    if not path.exists():
        text = f"{name!r} has no tokenizer.json; slow tokenizers are not supported."
        if (folder / "tekken.json").exists():
            text = f"{name!r} has its tokenizer as tekken.json alone, which is not read. {_TEKKEN}"
        raise EngineError(text)
    try:
        msgspec.json.decode(path.read_bytes(), type=_Tokenizer)
    except OSError as error:
        raise EngineError(f"tokenizer.json in {name!r} cannot be read: {error.strerror}.") from None
    except msgspec.DecodeError:
        text = f"tokenizer.json in {name!r} is broken: it is no JSON, or holds no tokenizer."
        raise EngineError(text) from None


class _Tokenizer(msgspec.Struct):
    """What is looked at of a tokenizer.json."""

    model: dict[str, msgspec.Raw]
