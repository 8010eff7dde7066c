"""Which models are in the cache, and which of them an engine could start from on this machine."""

from pathlib import Path
from typing import NamedTuple

from ...actors.director.config import DirectorConfig
from ...actors.director.machine import refuse_impossible, this_machine
from ...actors.director.parts import Parts
from ...protocol.checkpoint.folder import inspect
from ...protocol.config.engine import EngineConfig
from ...protocol.errors import EngineError
from .gguf import folder_around, gguf_of


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
            last_used=max(
                (file.blob_last_accessed for file in revision.files), default=revision.last_modified
            ),
        )
        for repository in repositories
        for revision in repository.revisions
    ]
    return sorted(held, key=lambda model: (model.name, -model.last_used))


def why_not(folder: Path) -> str | None:
    """What the start of an engine from this folder would be refused for, by default settings. Files
    are looked at first. The rest takes the model's own classes, which take seconds, and may yet
    refuse weights when these are loaded. Around a GGUF file a folder is made."""
    try:
        if (gguf := gguf_of(str(folder))) is not None:
            folder = folder_around(*gguf)
        config = EngineConfig(model=str(folder))
        inspect(folder)
        refuse_impossible(config, this_machine())
        from ...actors.facts.actor import found

        Parts(DirectorConfig(engine=config)).divide(found(str(folder)), None)
    except EngineError as error:
        return str(error)
    # Of the model's own classes, which read here what nobody has checked.
    except Exception as error:
        return f"What the model in {str(folder)!r} is cannot be found out ({type(error).__name__})."
    return None
