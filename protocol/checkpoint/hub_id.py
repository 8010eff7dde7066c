"""The id of a model on a hub, as it is written in place of a folder: `ORG/NAME`,
`ORG/NAME@REVISION`, and, of one that holds several GGUF files, `ORG/NAME:CHOICE`."""

import os
import re
from pathlib import Path
from typing import NamedTuple

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"({_NAME}/{_NAME})(?::([A-Za-z0-9_][A-Za-z0-9_.-]*))?(?:@(.+))?", re.DOTALL)
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]*")
"""A branch, a tag, `refs/pr/N` or a commit. It becomes part of a path in the cache."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubId(NamedTuple):
    """Which model, and which state of it."""

    name: str
    """`ORG/NAME`."""
    revision: str | None
    """None: its main branch."""
    choice: str | None = None
    """Which of its GGUF files: a name, or the last word of one; None: nobody said."""


def hub_id(text: str) -> HubId | None:
    """None where something of this name is on this machine, or where the text has not the form of
    an id."""
    found = read_id(text)
    return None if found is None or os.path.lexists(text) else found


def read_id(text: str) -> HubId | None:
    """The same, whatever is on this machine. A revision may still be none."""
    found = _ID.fullmatch(text)
    if found is None or "--" in found[1] or ".." in found[1]:
        return None
    return HubId(found[1], found[3], found[2])


def is_revision(text: str) -> bool:
    """Whether a branch, a tag or a commit may be called so."""
    return _REVISION.fullmatch(text) is not None and not {"", ".", ".."} & set(text.split("/"))


def is_snapshot(folder: Path) -> bool:
    """Whether a folder is one state of a model in a hub's cache."""
    place = folder.absolute()
    return place.parent.name == "snapshots" and is_commit(place.name)


def is_commit(text: str) -> bool:
    """Whether it is the full hash of a commit, which names one state for ever."""
    return _COMMIT.fullmatch(text) is not None
