"""Which models are in the cache, and which of them an engine could start from on this machine."""

from pathlib import Path
from typing import NamedTuple

from ...actors.director.machine import refuse_impossible, this_machine
from ...protocol.checkpoint import inspect
from ...protocol.config import EngineConfig
from ...protocol.errors import EngineError


class HeldModel(NamedTuple):
    """One state of one model in the cache."""

    name: str
    """`ORG/NAME`."""
    revisions: tuple[str, ...]
    """Branches and tags that stood there when they were last asked for."""
    commit: str
    folder: Path
    bytes: int
    last_used: float
    """Unix seconds; as far as the file system keeps count of reads."""
    why_not: str | None
    """Why no engine starts from it with the settings that are the default; None: nothing stands against it."""


def held_models(root: Path) -> list[HeldModel]:
    """By name, the last used state first."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = [found for found in scan_cache_dir(root).repos if found.repo_type == "model"]
    except CacheNotFound:
        return []
    held = [
        HeldModel(
            name=repository.repo_id,
            revisions=tuple(sorted(revision.refs)),
            commit=revision.commit_hash,
            folder=revision.snapshot_path,
            bytes=revision.size_on_disk,
            last_used=max((file.blob_last_accessed for file in revision.files), default=revision.last_modified),
            why_not=why_not(revision.snapshot_path),
        )
        for repository in repositories
        for revision in repository.revisions
    ]
    return sorted(held, key=lambda model: (model.name, -model.last_used))


def why_not(folder: Path) -> str | None:
    """What the start of an engine from this folder would be refused for, as far as that is known without torch."""
    machine = this_machine()
    try:
        config = EngineConfig(model=str(folder))
        inspect(folder)
        refuse_impossible(config, machine)
    except EngineError as error:
        return str(error)
    return None
