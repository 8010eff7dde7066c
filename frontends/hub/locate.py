"""From the model that somebody asks for to its folder on this machine."""

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ...protocol.checkpoint.companions import named_companions
from ...protocol.checkpoint.folder import inspect_small_files
from ...protocol.checkpoint.hub_id import HubId, hub_id, is_revision, is_snapshot, read_id
from ...protocol.checkpoint.json_files import read_object
from ...protocol.config.engine import EngineConfig
from ...protocol.errors import EngineError
from .cache import CachedModel, cache_folder
from .choice import HubFile, Listing, gguf_file, small_files, weight_files
from .fetch import Fetch, Stopped
from .gguf import check_library, folder_around, gguf_of
from .listing import ask
from .meter import Meter
from .words import BUGS, no_room, sentence, shown

log = logging.getLogger(__name__)


def located(config: EngineConfig, stop: threading.Event | None = None) -> EngineConfig:
    """The same with a folder in place of a model's id or a GGUF file, fetched where it must be.
    Blocks; `stop`, set by another thread, ends it with Stopped. Raises EngineError."""
    wanted = hub_id(config.model)
    if wanted is None:
        found = gguf_of(config.model)
        if found is not None:
            return _at(config, folder_around(*found, stop))
        _fetch_companions(Path(config.model), None, stop)
        return config
    wanted = wanted._replace(revision=config.revision or wanted.revision)
    folder = fetched(wanted, config.download_dir, stop)
    gguf = CachedModel(folder.parents[2], wanted.name).gguf_file(folder.name, wanted.choice)
    return _at(config, folder if gguf is None else folder_around(gguf, folder, stop))


def _at(config: EngineConfig, folder: Path) -> EngineConfig:
    return msgspec.structs.replace(
        config, model=str(folder), revision=None, served_model_name=config.name
    )


def fetched(
    wanted: HubId, download_dir: str | None = None, stop: threading.Event | None = None
) -> Path:
    """The model's folder in the cache, with those that it takes parts from. Otherwise as
    `located`."""
    folder = _alone(wanted, download_dir, stop)
    _fetch_companions(folder, str(cache_folder(download_dir)), stop)
    return folder


def _alone(wanted: HubId, download_dir: str | None, stop: threading.Event | None) -> Path:
    cached = CachedModel(cache_folder(download_dir), wanted.name)
    known = cached.whole_snapshot(cached.known_commit(wanted.revision), wanted.choice)
    if known is None or known.name != wanted.revision:
        known = _as_on_the_hub(wanted, cached, known, stop or threading.Event())
    cached.check_links(known.name)
    return known


def _fetch_companions(folder: Path, download_dir: str | None, stop: threading.Event | None) -> None:
    """The models that `folder` takes parts from; gpu_runtime/weights/companions.py finds them
    there."""
    try:
        config = read_object(folder, "config.json")
    except (EngineError, ValueError):  # the engine will say what it is
        return
    for named in named_companions(config, str(folder)).values():
        wanted = read_id(named)
        here = not is_snapshot(folder) and any(
            os.path.isdir(place) for place in (folder / named, named)
        )
        if wanted is None or here:
            continue
        if wanted.revision is not None and not is_revision(wanted.revision):
            raise EngineError(
                f"The config.json of {str(folder)!r} names {named!r}, which is no revision of a "
                f"model."
            )
        _alone(wanted, download_dir, stop)


def _as_on_the_hub(
    wanted: HubId, cached: CachedModel, known: Path | None, stop: threading.Event
) -> Path:
    """The state that the hub names; `known`, where it names none."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        listing = ask(wanted)
    except BUGS:
        raise
    except Exception as error:  # of huggingface_hub and its HTTP client, whichever that is
        text = sentence(error, wanted, cached.root)
        if known is None or isinstance(error, RevisionNotFoundError):
            raise EngineError(text) from None
        taken = "%s is taken from the cache as it was at commit %s. %s"
        log.warning(taken, shown(wanted), known.name[:12], text)
        return known
    try:
        _complete(wanted, cached, listing, stop)
    except (Stopped, *BUGS):
        raise
    except Exception as error:
        raise EngineError(sentence(error, wanted, cached.root)) from None
    cached.remember(wanted.revision, listing.commit)
    return cached.snapshot(listing.commit)


def _complete(wanted: HubId, cached: CachedModel, listing: Listing, stop: threading.Event) -> None:
    """Fetch what the cache lacks of a commit, the small files before the weights."""
    snapshot = cached.snapshot(listing.commit)
    gguf = gguf_file(wanted, listing.names)
    if gguf is not None:
        check_library(gguf)
    small = _absent(snapshot, small_files(wanted, listing))
    large = _absent(snapshot, weight_files(wanted, listing, snapshot))
    if not small and not large:
        return
    _check_room(wanted, cached, [*small, *large])
    with Meter(
        f"{wanted.name} ({listing.commit[:12]})",
        str(cached.root),
        cached.without_blobs([*small, *large]),
    ) as meter:
        fetch = Fetch(wanted.name, cached, listing.commit, meter, stop)
        fetch.run(small)
        if gguf is None:
            # What no engine would start from is not worth its weights.
            inspect_small_files(snapshot)
        large = _absent(snapshot, weight_files(wanted, listing, snapshot))  # the index is there now
        meter.expect(cached.without_blobs(large))
        fetch.run(large)


def _absent(snapshot: Path, files: Iterable[HubFile]) -> list[HubFile]:
    def is_here(file: HubFile) -> bool:
        path = snapshot / file.name
        return path.is_file() and path.stat().st_size == file.size

    return [file for file in files if not is_here(file)]


def _check_room(wanted: HubId, cached: CachedModel, files: Iterable[HubFile]) -> None:
    """Raises EngineError where the disk cannot hold them."""
    needed = sum(file.size - cached.part_size(file.digest) for file in cached.without_blobs(files))
    place = next(folder for folder in (cached.root, *cached.root.parents) if folder.is_dir())
    disk = os.statvfs(place)
    if needed > (free := disk.f_bavail * disk.f_frsize):
        raise no_room(needed, free, wanted, cached.root)
