"""Why a model could not be fetched: one sentence on what was wrong, where, and what to do."""

import errno
from pathlib import Path

from ...protocol.checkpoint.hub_id import HubId
from ...protocol.errors import EngineError
from .choice import HubFile
from .listing import endpoint

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
LASTING = (*_FULL, *_FORBIDDEN)
"""Errors of the disk that another try meets again."""
BUGS = (AssertionError, AttributeError, LookupError, NameError, TypeError)
"""What neither a network nor a disk raises: ours, which nobody is to look for in theirs."""
OTHER_CACHE = "give another folder with --download-dir or HF_HUB_CACHE"


def sentence(error: BaseException, wanted: HubId, root: Path) -> str:
    """`root`: the cache."""
    from huggingface_hub import errors

    match error:
        case EngineError():
            return str(error)
        case errors.GatedRepoError():
            return _gated(wanted.name)
        case errors.RevisionNotFoundError():
            return (
                f"{wanted.name!r} has no revision {wanted.revision!r} at {endpoint()}: give a "
                f"branch, a tag or a commit of it."
            )
        case errors.RepositoryNotFoundError():
            return _unknown(wanted.name)
        case errors.OfflineModeIsEnabled():
            return (
                f"There is no folder {wanted.name!r} here, {shown(wanted)} is not in the cache "
                f"{str(root)!r}, and HF_HUB_OFFLINE forbids to fetch it: unset that, or give the "
                "model's folder."
            )
        case errors.HfHubHTTPError() if error.response.status_code == 401 and not _has_token():
            # Hubs do not tell a stranger whether there is such a model.
            return _unknown(wanted.name)
        case errors.HfHubHTTPError():
            return _status(error.response.status_code, wanted)
        case OSError(errno=number) if number in _FULL:
            return (
                f"No room for {wanted.name!r} in {str(root)!r} ({error.strerror}): free some, or "
                f"{OTHER_CACHE}."
            )
        case OSError(errno=number) if number in _FORBIDDEN:
            return (
                f"The cache {str(root)!r} cannot be written to ({error.strerror}): {OTHER_CACHE}."
            )
        case OSError(errno=number) if number is not None and error.filename is not None:
            return (
                f"{str(error.filename)!r} cannot be used ({error.strerror}): mend it, or "
                f"{OTHER_CACHE}."
            )
    return (
        f"There is no folder {wanted.name!r} here, and {endpoint()} cannot be reached for "
        f"{shown(wanted)} ({type(error).__name__}): check how it is written, see to the network, "
        "or to HF_ENDPOINT; what has come is kept, and the next start goes on from there."
    )


def shown(wanted: HubId) -> str:
    return (
        repr(wanted.name) if wanted.revision is None else f"{wanted.name!r} at {wanted.revision!r}"
    )


def size(count: int) -> str:
    """`15.2 GB`: decimal units, as hubs and disks are sold."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def broken(file: HubFile, model: str) -> EngineError:
    return EngineError(
        f"{file.name} of {model!r} did not come as the hub describes it (size and digest): try "
        f"again."
    )


def no_room(needed: int, free: int, wanted: HubId, root: Path) -> EngineError:
    room = f"it takes {size(needed)}, and {str(root)!r} has {size(free)} left"
    return EngineError(f"No room for {wanted.name!r}: {room}; free some, or {OTHER_CACHE}.")


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _gated(name: str) -> str:
    page = f"{endpoint()}/{name}"
    if _has_token():
        return (
            f"{name!r} is gated, and the token in use may not read it: ask for access at {page} "
            f"with the token's account."
        )
    return (
        f"{name!r} is gated: ask for access at {page}, then set HF_TOKEN to a token of that "
        f"account (or run hf auth login)."
    )


def _unknown(name: str) -> str:
    private = "the token in use may not see it" if _has_token() else "needs a token in HF_TOKEN"
    return (
        f"There is no folder {name!r} here and no model {name!r} at {endpoint()}, or it is "
        f"private and {private}: "
        "check how it is written."
    )


def _status(status: int, wanted: HubId) -> str:
    asked = f"{endpoint()} refuses {shown(wanted)} (status {status})"
    if status in (401, 403):
        return (
            f"{asked}: the token in HF_TOKEN, or the one that hf auth login has kept, is not "
            f"accepted for it; renew it."
        )
    if status == 429:
        return f"{asked}: too many requests; wait some minutes, or set HF_TOKEN."
    if status >= 500:
        return f"{asked}: the hub is in trouble; try again later."
    return f"{asked}: check HF_ENDPOINT."
