"""What a hub says of a model: its commit and its files, all checked here."""

import re
from typing import TYPE_CHECKING

from ...protocol.checkpoint.hub_id import HubId, is_commit
from ...protocol.errors import EngineError
from ...protocol.version import version
from .choice import HubFile, Listing, may_be_read

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

ANSWER_SECONDS = 10.0
"""For which a hub may be silent while it is asked about a model."""
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def ask(wanted: HubId) -> Listing:
    """One request. Raises what huggingface_hub raises; EngineError for an answer that is none."""
    from huggingface_hub import HfApi, constants

    constants.HF_HUB_DISABLE_TELEMETRY = (
        True  # it asks the hub for a list of programs, which would be a second request
    )
    api = HfApi(library_name="thespis", library_version=version())
    try:
        info = api.model_info(
            wanted.name, revision=wanted.revision, files_metadata=True, timeout=ANSWER_SECONDS
        )
    # What the library takes out of an answer is not in it.
    except (AttributeError, LookupError, TypeError) as error:
        text = (
            f"{endpoint()} does not answer as a hub of models does: see to the network, or to "
            f"HF_ENDPOINT."
        )
        raise EngineError(text) from error
    commit = info.sha
    if commit is None or not is_commit(commit):
        raise EngineError(
            f"{endpoint()} names no commit of {wanted.name!r}: is HF_ENDPOINT a hub of models?"
        )
    siblings = info.siblings or []
    files = tuple(
        _file(wanted.name, commit, found) for found in siblings if may_be_read(found.rfilename)
    )
    return Listing(commit, frozenset(found.rfilename for found in siblings), files)


def endpoint() -> str:
    """The hub that is asked."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def _file(model: str, commit: str, found: "RepoSibling") -> HubFile:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    size, digest = (
        (found.size, found.blob_id) if found.lfs is None else (found.lfs.size, found.lfs.sha256)
    )
    if size is None or digest is None:  # a mirror that lists names alone
        url = hf_hub_url(model, found.rfilename, revision=commit)
        asked = get_hf_file_metadata(url, timeout=ANSWER_SECONDS)
        size, digest = asked.size, asked.etag
    if not isinstance(size, int) or size < 0 or not _DIGEST.fullmatch(digest or ""):
        raise EngineError(
            f"{endpoint()} names no size and digest of {found.rfilename!r} in {model!r}: set "
            f"another HF_ENDPOINT."
        )
    return HubFile(found.rfilename, size, digest or "")
