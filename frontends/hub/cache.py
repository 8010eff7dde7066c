"""One model in the cache of huggingface_hub: `blobs/DIGEST`, `snapshots/COMMIT/FILE`,
`refs/REVISION`, in `models--ORG--NAME`. The layout is that library's, whose programs share it."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from ...protocol.checkpoint.hub_id import HubId, is_commit
from ...protocol.checkpoint.weight_files import weight_files
from ...protocol.errors import EngineError
from .choice import HubFile, gguf_file

MAIN = "main"
"""The branch that is meant where none is named."""


def cache_folder(given: str | None) -> Path:
    """`given`, or where the environment says (HF_HUB_CACHE, HF_HOME)."""
    from huggingface_hub import constants

    return Path(given or constants.HF_HUB_CACHE).expanduser().resolve()


class CachedModel:
    """Where a model's files are, or will be. Nothing is made before something is stored."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.folder = root / f"models--{name.replace('/', '--')}"
        self.blobs = self.folder / "blobs"

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def known_commit(self, revision: str | None) -> str | None:
        """Where a branch or tag stood when it was last asked for; a commit is itself."""
        if revision is not None and is_commit(revision):
            return revision
        try:
            commit = (self.folder / "refs" / (revision or MAIN)).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return commit if is_commit(commit) else None

    def whole_snapshot(self, commit: str | None, choice: str | None = None) -> Path | None:
        """The snapshot, if its weights, which come last, are whole. `choice`: of its GGUF files."""
        if commit is None:
            return None
        if self.gguf_file(commit, choice) is not None:
            return self.snapshot(commit)
        if choice is not None or not (self.snapshot(commit) / "config.json").is_file():
            return None
        try:
            weights = weight_files(self.snapshot(commit))
        except EngineError:
            return None
        return self.snapshot(commit) if all(path.is_file() for path in weights) else None

    def gguf_file(self, commit: str, choice: str | None) -> Path | None:
        """The GGUF file of a snapshot that is meant; None: it is not here, or the model is none."""
        folder = self.snapshot(commit)
        try:
            names = [path.name for path in folder.iterdir() if path.is_file()]
            name = gguf_file(HubId(self.name, commit, choice), names)
        except (EngineError, OSError):
            return None
        return None if name is None else folder / name

    def without_blobs(self, files: Iterable[HubFile]) -> list[HubFile]:
        """Those whose content is still to come: another snapshot may have the same file."""
        return [file for file in files if not (self.blobs / file.digest).is_file()]

    def part_of(self, digest: str) -> Path:
        """Where a content is that is still coming."""
        return self.blobs / f"{digest}.incomplete"

    def part_size(self, digest: str) -> int:
        """Bytes of it that are here."""
        try:
            return self.part_of(digest).stat().st_size
        except OSError:
            return 0

    def remember(self, revision: str | None, commit: str) -> None:
        """Keep where a branch or tag stands. A cache that cannot be written to forgets it."""
        if (revision is not None and is_commit(revision)) or self.known_commit(revision) == commit:
            return
        path = self.folder / "refs" / (revision or MAIN)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(commit)
            os.replace(draft, path)
        except OSError:
            draft.unlink(missing_ok=True)

    def link(self, commit: str, name: str, digest: str) -> None:
        """Let the snapshot's file of this name be the blob."""
        path = self.snapshot(commit) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.symlink_to(os.path.relpath(self.blobs / digest, path.parent))
        os.replace(draft, path)

    def check_links(self, commit: str) -> None:
        """Raises EngineError where a file of the snapshot leads out of the cache."""
        # The owner may keep a model on another disk.
        places = (self.root.resolve(), self.folder.resolve())
        for path in (*self.snapshot(commit).iterdir(), *self.snapshot(commit).glob("[0-9]*_*/*")):
            if not any(path.resolve().is_relative_to(place) for place in places):
                raise EngineError(
                    f"{path.name} in {str(path.parent)!r} leads out of the cache "
                    f"{str(self.root)!r}: remove it."
                )
