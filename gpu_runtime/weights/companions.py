"""Where the other models lie that a checkpoint takes parts from: no torch, and nothing is fetched
here."""

from pathlib import Path

from ...protocol.checkpoint.companions import field_of, named_companions
from ...protocol.checkpoint.hub_id import HubId, is_commit, is_snapshot, read_id
from ...protocol.checkpoint.json_files import Json, read_object
from ...protocol.checkpoint.weight_files import fingerprint, weight_files
from ...protocol.errors import EngineError


def companions_of(folder: Path) -> dict[str, Path]:
    """By part of the configuration, the folder of the model that has it.

    A snapshot of a hub names ids alone, which lie in the same cache; any other folder may also name
    a folder, beside its own files or anywhere. Raises EngineError where one is not there, or not
    whole.
    """
    config = read_object(folder, "config.json")
    found = {
        part: _found(folder, config, part, named)
        for part, named in named_companions(config, str(folder)).items()
    }
    for place in found.values():
        weight_files(place)
    return found


def with_companions(folder: Path, config: Json) -> Json:
    """`config` with the parts that its companions have. Raises EngineError as `companions_of`."""
    made = dict(config)
    for part, place in companions_of(folder).items():
        said = read_object(place, "config.json")
        own = {key: said[key] for key in said if key != "auto_map"}
        made[part] = said[part] if isinstance(said.get(part), dict) else own
    return made


def fingerprints(folder: Path) -> list[str]:
    """Of the companions. Raises EngineError as `companions_of`."""
    return [fingerprint(place) for _, place in sorted(companions_of(folder).items())]


def cache_of(folder: Path) -> Path:
    """The cache of huggingface_hub that the folder is a snapshot in; of any other folder the one of
    the environment."""
    if is_snapshot(folder):
        return folder.absolute().parents[2]
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def _found(folder: Path, config: Json, part: str, named: str) -> Path:
    local = None if is_snapshot(folder) else _local(folder, named)
    wanted = read_id(named)
    place = local or (None if wanted is None else _cached(cache_of(folder), wanted))
    if place is None or not (place / "config.json").is_file():
        where, what = "which is no id of a model", "give a checkpoint that names one"
        if wanted is not None:
            where = f"which is not in the cache {str(cache_of(folder))!r}"
            what = f"thespis pull {named}"
        here = "" if is_snapshot(folder) else ", or write the path of its folder there"
        raise EngineError(
            f"The model in {str(folder)!r} takes a part of its weights from {named!r} "
            f"({field_of(config, part)} in its config.json), {where}: {what}{here}."
        )
    return place


def _local(folder: Path, named: str) -> Path | None:
    try:
        places = (folder / named, Path(named).expanduser())
        return next((place for place in places if place.is_dir()), None)
    except (OSError, RuntimeError):  # a name that is too long, a home that is nobody's
        return None


def _cached(cache: Path, wanted: HubId) -> Path | None:
    model = cache / f"models--{wanted.name.replace('/', '--')}"
    commit = wanted.revision or "main"
    if not is_commit(commit):
        try:
            commit = (model / "refs" / commit).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
    place = model / "snapshots" / commit
    return place if is_commit(commit) and place.is_dir() else None
