"""A GGUF file in place of a checkpoint: which one is meant, and the folder around it. The folder
holds what the file's metadata tell and a link to the file. It is made once, by a process of its
own, since that takes transformers."""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import threading
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

from ...protocol.cache import cache_home
from ...protocol.checkpoint.gguf_file import MAGIC, read_gguf
from ...protocol.checkpoint.tokenizer_file import tokenizer_files
from ...protocol.config.environment import KEYS
from ...protocol.errors import EngineError
from ...protocol.version import version
from .fetch import Stopped
from .gguf_choice import chosen, is_gguf

SECONDS = 300.0
"""That the process may take."""


def gguf_of(model: str) -> tuple[Path, Path | None] | None:
    """(the file, the folder whose tokenizer is taken where it has one) of a path; None: it is no
    GGUF, as a folder with *.safetensors. Raises EngineError where a folder holds several."""
    try:
        path = Path(model).expanduser()
        if path.is_file():
            with path.open("rb") as file:
                return (path, None) if file.read(len(MAGIC)) == MAGIC else None
        names = os.listdir(path) if path.is_dir() else []
    except (OSError, ValueError, RuntimeError):
        return None
    if not any(is_gguf(name) for name in names) or any(
        name.endswith(".safetensors") for name in names
    ):
        return None
    return path / chosen(names, None, model), path


def check_library(name: str) -> None:
    """Raises EngineError where a file of this name could not be read for want of it."""
    if find_spec("gguf") is None:
        raise EngineError(
            f"{name} is a GGUF file, for which a library is missing: pip install 'thespis[gguf]'."
        )


def folder_around(path: Path, beside: Path | None, stop: threading.Event | None = None) -> Path:
    """The checkpoint folder of a GGUF file, which takes some seconds to make the first time. Raises
    EngineError for a file that is not read, and Stopped."""
    check_library(path.name)
    beside = beside if beside is not None and (beside / "tokenizer.json").is_file() else None
    folder = cache_home() / "gguf" / f"{path.name.removesuffix('.gguf')}-{_key(path, beside)}"
    if folder.is_dir():
        return folder
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True, mode=0o700)
        _run(path, draft, beside, stop)
        os.replace(draft, folder)
    except OSError as error:
        if not folder.is_dir():  # another start was faster
            raise EngineError(
                f"The folder for {path.name} cannot be made in {str(folder.parent)!r} "
                f"({error.strerror}): set XDG_CACHE_HOME."
            ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _key(path: Path, beside: Path | None) -> str:
    """By the file's place and header, the tokenizer beside it, and who makes the folder."""
    digest = hashlib.sha256(
        f"{path.resolve()}\0{version()}\0{version_of('transformers')}\0".encode()
    )
    with path.open("rb") as file:
        digest.update(file.read(read_gguf(path).header))
    if beside is not None:
        for found in tokenizer_files(beside):
            digest.update(found.name.encode() + found.read_bytes())
    return digest.hexdigest()[:12]


def _run(path: Path, folder: Path, beside: Path | None, stop: threading.Event | None) -> None:
    given = (
        (path.resolve(), folder) if beside is None else (path.resolve(), folder, beside.resolve())
    )
    command = [sys.executable, "-P", "-m", "thespis.gpu_runtime.gguf", *map(str, given)]
    kept = {name: value for name, value in os.environ.items() if name not in KEYS}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=kept | {"HF_HUB_OFFLINE": "1"}
    ) as process:
        try:
            said, _ = _wait(process, stop or threading.Event())
        finally:
            process.kill()
    if process.returncode == 2 and said:
        raise EngineError(said.decode("utf-8", "replace").strip())
    if process.returncode:
        raise EngineError(
            f"What {path.name} is cannot be found out (exit code {process.returncode})."
        )


def _wait(process: "subprocess.Popen[bytes]", stop: threading.Event) -> tuple[bytes, bytes]:
    for _ in range(int(SECONDS / 0.2)):
        try:
            return process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise Stopped from None
    return b"", b""
