"""A hub of models on loopback, as huggingface_hub asks one: it counts what is asked, and can cut,
stall, lie and refuse."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

LARGE = 10_000
"""Bytes from which on a file is kept outside of git, and known by its sha256."""


class Asked(NamedTuple):
    """One request that came."""

    method: str
    path: str
    range: str | None
    token: str | None


class Repository:
    """A model on the hub: a tree of files per commit, and where its branches stand."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.readers: set[str] | None = None
        """Tokens that may read the files; None: it is open."""

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Its hash follows from the files."""
        digest = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[digest] = dict(files)
        self.branches[branch] = digest
        return digest


class FakeHub:
    """`with FakeHub() as hub: hub.add("org/name", {"config.json": b"{}"}); ... hub.url ...`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[Asked] = []
        self.cuts: list[int] = []
        """Each ends one transfer of a file that is larger, after so many bytes."""
        self.stalls: list[int] = []
        """As `cuts`, but the connection stays open and nothing more comes."""
        self.tampered: dict[str, bytes] = {}
        """What is sent in place of a file."""
        self.names_alone = False
        """List no sizes and digests, as some mirrors do."""
        self.no_ranges = False
        """Send the whole file, whatever part of it is asked for."""
        self.moved_to: str | None = None
        """Where files are really kept: requests for them are sent on to there."""
        self.seconds_per_chunk = 0.0
        """What 64 KiB of a large file take."""
        self.silent = False
        """Take requests, and answer none."""
        self.answer: bytes | None = None
        """Given to everything, with status 200."""
        self.status: int | None = None
        """Answered to everything."""
        self.gone = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, name: str, files: Mapping[str, bytes] | Path) -> Repository:
        """A model with one commit, from files or from those at the top of a folder."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()}
        found = self.repositories[name] = Repository()
        found.commit(files)
        return found

    def environment(self, cache: Path, **more: str) -> dict[str, str]:
        """For a child process that uses this hub."""
        here = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return here | {"HF_ENDPOINT": self.url, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"} | more

    def fetched(self) -> list[str]:
        """Names of the files that were sent, or begun to be."""
        return [
            asked.path.rpartition("/")[2]
            for asked in self.asked
            if asked.method == "GET" and "/resolve/" in asked.path
        ]

    def close(self) -> None:
        """Gone: no connection is answered or taken from here on. Idempotent."""
        self.gone = True
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    @property
    def hub(self) -> FakeHub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def _answer(self) -> None:
        if self.hub.gone:  # who kept a connection finds it closed
            self.close_connection = True
            return None
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.asked.append(Asked(self.command, self.path, self.headers.get("Range"), token))
        while self.hub.silent and not self.hub.gone:
            time.sleep(0.02)
        if self.hub.status is not None:
            return self._send(self.hub.status, b"{}")
        if self.hub.answer is not None:
            return self._send(200, self.hub.answer)
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            return self._info(
                "/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main"
            )
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), token)
        return self._send(404, b"no such path")

    def _info(self, name: str, revision: str) -> None:
        found = self.hub.repositories.get(name)
        if found is None:
            return self._send(
                401, b"{}", {"X-Error-Message": "Invalid username or password."}
            )  # as the public hub says it
        commit = found.branches.get(revision, revision)
        if commit not in found.commits:
            return self._send(
                404,
                b"{}",
                {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"},
            )
        siblings = [self._sibling(path, data) for path, data in found.commits[commit].items()]
        answer = {
            "_id": "1",
            "id": name,
            "sha": commit,
            "private": False,
            "tags": [],
            "siblings": siblings,
        }
        return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _sibling(self, path: str, data: bytes) -> dict[str, Any]:
        if self.hub.names_alone or "blobs=" not in self.path:
            return {"rfilename": path}
        known: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": _git_sha1(data)}
        if len(data) >= LARGE:
            known["lfs"] = {
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "pointerSize": 130,
            }
        return known

    def _file(self, name: str, revision: str, path: str, token: str | None) -> None:
        found = self.hub.repositories[name]
        if found.readers is not None and token not in found.readers:
            return self._send(
                403 if token else 401,
                b"{}",
                {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"},
            )
        commit = found.branches.get(revision, revision)
        if self.hub.moved_to is not None:
            return self._send(
                302, b"", {"Location": self.hub.moved_to + self.path, "X-Repo-Commit": commit}
            )
        data = found.commits[commit].get(path)
        if data is None:
            return self._send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(data).hexdigest() if len(data) >= LARGE else _git_sha1(data)
        head = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        sent = self.hub.tampered.get(path, data)
        asked = self.headers.get("Range")
        if asked is None or self.hub.no_ranges:
            return self._send(200, sent, head, len(data) >= LARGE)
        first = int(asked.removeprefix("bytes=").split("-")[0])
        head["Content-Range"] = f"bytes {first}-{len(sent) - 1}/{len(sent)}"
        return self._send(206, sent[first:], head, len(data) >= LARGE)

    def _send(
        self, status: int, body: bytes, head: Mapping[str, str] | None = None, large: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in (head or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut, stall = (
            _taken(ends, len(body)) if large else None for ends in (self.hub.cuts, self.hub.stalls)
        )
        try:
            self._write(body[: cut if stall is None else stall], large)
            if stall is not None:
                self.connection.recv(1)  # until the caller goes
        except OSError:
            self.close_connection = True
        if cut is not None or stall is not None:
            self.close_connection = True

    def _write(self, body: bytes, large: bool) -> None:
        for start in range(0, len(body), 1 << 16):
            if large and self.hub.seconds_per_chunk:
                time.sleep(self.hub.seconds_per_chunk)
            self.wfile.write(body[start : start + (1 << 16)])
        self.wfile.flush()


def _taken(ends: list[int], size: int) -> int | None:
    """The next of these, if a transfer of this size comes as far."""
    return ends.pop(0) if ends and size > ends[0] else None


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
