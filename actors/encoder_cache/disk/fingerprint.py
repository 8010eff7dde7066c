"""What an embedding on disk belongs to: everything but the item itself that its numbers and its
layout depend on. Whatever is in doubt is in it: a change then costs a miss and never an answer."""

from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

import msgspec
import torch
from blake3 import blake3

from ....gpu_runtime.weights.companions import companions_of
from ....protocol.config.roles import EncoderCacheConfig
from ....protocol.version import version
from ...jobs.identity import KEY_VERSION

SOURCES = (
    "gpu_runtime", "actors/decode_worker", "actors/encode_worker", "actors/jobs",
    "actors/encoder_cache", "protocol",
)  # fmt: skip
"""Folders of this package, in which items are decoded and encoded."""
PACKAGES = (
    "av", "numpy", "pillow", "pillow-heif", "safetensors", "soundfile", "soxr", "tokenizers",
    "torch", "transformers",
)  # fmt: skip
"""Distributions whose versions change numbers."""
SMALL = (".json", ".jinja", ".model", ".tiktoken", ".txt", ".yaml", ".yml")
MOST_SMALL = 64 << 20
"""Bytes: of a checkpoint's folder, what is not a file of weights."""


def fingerprint(config: EncoderCacheConfig, weights: str) -> str:
    """Hex. `weights`: a digest of the towers' own, as they were loaded."""
    model = config.model
    about = [
        KEY_VERSION, version(), sources(),
        [(name, _version(name)) for name in PACKAGES],
        weights, model.fingerprint, model.model_type, model.architecture, model.embed_width,
        config.dtype, config.device, config.native_kernels, config.deterministic,
        tuple(config.threads) if config.deterministic else None, _processor(config),
        [small_files(path) for path in _folders(Path(model.path))],
    ]  # fmt: skip
    return blake3(msgspec.json.encode(about)).hexdigest()


@cache
def sources() -> str:
    """Digest of the code: a checkout has one version through many changes."""
    root = Path(__file__).resolve().parents[3]
    digest = blake3()
    for path in sorted(_sources(root)):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for folder in SOURCES:
        for suffix in (".py", ".cpp", ".h"):
            yield from (root / folder).rglob(f"*{suffix}")


def small_files(folder: Path) -> str:
    """Digest of all of a checkpoint that is no weights: the processor's settings, the tokenizer."""
    digest = blake3()
    for path in sorted(folder.iterdir()):
        if path.suffix in SMALL and path.is_file() and path.stat().st_size <= MOST_SMALL:
            data = path.read_bytes()
            digest.update(f"{path.name}\0{len(data)}\0".encode())
            digest.update(data)
    return digest.hexdigest()


def _folders(folder: Path) -> list[Path]:
    return [folder, *(place for _, place in sorted(companions_of(folder).items()))]


def _processor(config: EncoderCacheConfig) -> str:
    """By which numbers are rounded in their own way."""
    if config.device == "cpu":
        return str(torch.backends.cpu.get_cpu_capability())
    return str(torch.cuda.get_device_name())


def _version(name: str) -> str:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return ""
