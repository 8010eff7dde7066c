"""Requests and the downloads they share. Pure: what happened goes in, what is to be done comes
out."""

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ...protocol.edges.fetcher_to_preprocessor import Fetched
from ...protocol.edges.shared import RequestFailed
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.prepared import Timing
from ...protocol.requests.request import Encoded, MediaItem, Modality, Request, Url
from ..kernel.tombstones import Tombstones

DROPPED = Failure("cancelled", "The request was cancelled.")


@dataclass(eq=False, slots=True)
class Download:
    """One download and those who wait for it or read it."""

    modality: Modality
    url: str
    waiters: "dict[FetchRequest, None]" = field(default_factory=dict)
    joinable: bool = True
    """Another request for the same URL may share it."""
    blob: BlobRef | None = None
    """The bytes, when they are here."""
    span: tuple[float, float] = (0.0, 0.0)
    """Start and end of the download, seconds by time.monotonic."""

    @property
    def key(self) -> tuple[Modality, str]:
        return self.modality, self.url

    @property
    def wanted(self) -> bool:
        return self.joinable or bool(self.waiters)


@dataclass(eq=False, slots=True)
class FetchRequest:
    """One attempt of one request on its way to the preprocessor."""

    request: Request
    after: int
    """Only a preprocessor of a later epoch may have it."""
    downloads: dict[tuple[Modality, str], Download] = field(default_factory=dict)
    sent: bool = False
    """The preprocessor has it, and reads its bytes until it says `MediaRead`."""
    over: bool = False
    """Nobody waits for the answer any more."""

    @property
    def name(self) -> tuple[str, int]:
        return self.request.id, self.request.attempt

    @property
    def arrived(self) -> bool:
        return all(download.blob is not None for download in self.downloads.values())


class Start(NamedTuple):
    download: Download


class Cancel(NamedTuple):
    """Nobody waits for this download any more."""

    download: Download


class FreeBytes(NamedTuple):
    blob: BlobRef


class ToPreprocessor(NamedTuple):
    """To a preprocessor of an epoch behind `after`; answered by `delivered` where it could be
    sent."""

    message: Fetched
    after: int = 0


class ToClient(NamedTuple):
    client: str
    message: RequestFailed


class Linger(NamedTuple):
    """Over while the preprocessor may still read it: call `read` when `MediaRead` has not come for
    long."""

    id: str
    attempt: int


DownloadAction = Start | Cancel | FreeBytes | ToPreprocessor | ToClient | Linger


class DownloadTable:
    """Requests by (id, attempt); joinable downloads by (modality, URL)."""

    def __init__(self) -> None:
        self._fetches: dict[tuple[str, int], FetchRequest] = {}
        self._downloads: dict[tuple[Modality, str], Download] = {}
        self._over = Tombstones()
        self.shared = 0
        """Downloads that were not made because another request's was there."""

    def __len__(self) -> int:
        return len(self._fetches)

    def open(self, request: Request, after: int = 0) -> list[DownloadAction]:
        """A higher attempt replaces a lower one; the same or a lower one again changes nothing."""
        earlier = [fetch for fetch in self._fetches.values() if fetch.request.id == request.id]
        if request.id in self._over:
            return [_dropped(request)]
        if any(fetch.request.attempt >= request.attempt for fetch in earlier):
            return []
        held = {key: download for fetch in earlier for key, download in fetch.downloads.items()}
        effects: list[DownloadAction] = []
        fetch = self._fetches[request.id, request.attempt] = FetchRequest(request, after)
        for key in filter(None, map(_key, request.media)):
            if key in fetch.downloads:
                continue
            download = held.get(key) or self._downloads.get(key)
            if download is None:
                download = self._downloads[key] = Download(*key)
                effects.append(Start(download))
            elif key not in held:
                self.shared += 1
            fetch.downloads[key] = download
            download.waiters[fetch] = None
        # After the new one has joined: what it goes on with is not thrown away.
        effects += self._drop_unsent(earlier)
        return [*effects, _give(fetch)] if fetch.arrived else effects

    def landed(
        self, download: Download, blob: BlobRef, span: tuple[float, float]
    ) -> list[DownloadAction]:
        download.blob, download.span = blob, span
        return [_give(fetch) for fetch in download.waiters if fetch.arrived]

    def failed(self, download: Download, failure: Failure) -> list[DownloadAction]:
        """Everybody who waits for it fails; what else they fetched is given up."""
        self._forget(download)
        effects: list[DownloadAction] = []
        for fetch in list(download.waiters):
            named = msgspec.structs.replace(failure, part=_where(fetch.request, download))
            effects.append(ToClient(fetch.request.client, RequestFailed(*fetch.name, named)))
            effects.extend(self._drop(fetch, download))
        return effects

    def retire(self, download: Download) -> list[DownloadAction]:
        """From now on the same URL is downloaded anew. Idempotent."""
        if not download.joinable:
            return []
        self._forget(download)
        return [] if download.waiters or download.blob is None else [FreeBytes(download.blob)]

    def idle(self) -> list[Download]:
        """Landed and read by nobody: what can go when space is short."""
        landed = (download for download in self._downloads.values() if download.blob is not None)
        return [download for download in landed if not download.waiters]

    def delivered(self, id: str, attempt: int) -> None:
        self._fetches[id, attempt].sent = True

    def undelivered(self) -> list[DownloadAction]:
        """What waits for a preprocessor."""
        return [
            _give(fetch) for fetch in self._fetches.values() if fetch.arrived and not fetch.sent
        ]

    def read(self, id: str, attempt: int) -> list[DownloadAction]:
        """The preprocessor reads none of its bytes any more. Idempotent."""
        fetch = self._fetches.get((id, attempt))
        return [] if fetch is None else self._drop(fetch)

    def withdraw(self, id: str, attempt: int) -> list[DownloadAction]:
        """These attempts are void, and a later one is welcome. Idempotent."""
        its = [fetch for fetch in self._fetches.values() if fetch.request.id == id]
        fetches = [fetch for fetch in its if fetch.request.attempt <= attempt]
        return self._drop_unsent(fetches)

    def end(self, ids: tuple[str, ...]) -> list[DownloadAction]:
        """Idempotent. Whose bytes nobody has begun to read is told so; for the others the
        preprocessor says it."""
        self._over.add(ids)
        ended = set(ids)
        fetches = [fetch for fetch in self._fetches.values() if fetch.request.id in ended]
        return self._end(fetches) + [_dropped(fetch.request) for fetch in fetches if not fetch.sent]

    def client_gone(self, client: str) -> list[DownloadAction]:
        fetches = [fetch for fetch in self._fetches.values() if fetch.request.client == client]
        self._over.add(fetch.request.id for fetch in fetches)
        return self._end(fetches)

    def preprocessor_gone(self) -> list[DownloadAction]:
        """Its leases end; the ledger sends again what goes on."""
        sent = [fetch for fetch in self._fetches.values() if fetch.sent]
        return [effect for fetch in sent for effect in self._drop(fetch)]

    def _end(self, fetches: list[FetchRequest]) -> list[DownloadAction]:
        effects = self._drop_unsent(fetches)
        for fetch in fetches:
            if fetch.sent and not fetch.over:
                fetch.over = True
                effects.append(Linger(*fetch.name))
        return effects

    def _drop_unsent(self, fetches: list[FetchRequest]) -> list[DownloadAction]:
        return [effect for fetch in fetches if not fetch.sent for effect in self._drop(fetch)]

    def _drop(self, fetch: FetchRequest, failed: Download | None = None) -> list[DownloadAction]:
        """Take a fetch off the table, and what nobody else needs with it; `failed` is over
        already."""
        del self._fetches[fetch.name]
        effects: list[DownloadAction] = []
        for download in fetch.downloads.values():
            del download.waiters[fetch]
            if download.waiters or download is failed:
                continue
            if download.blob is None:
                self._forget(download)
                effects.append(Cancel(download))
            elif not download.joinable:
                effects.append(FreeBytes(download.blob))
        return effects

    def _forget(self, download: Download) -> None:
        if download.joinable:
            download.joinable = False
            del self._downloads[download.key]


def _dropped(request: Request) -> ToClient:
    """The answer to `End` for a request that was still here: no byte of its media is read any
    more."""
    return ToClient(request.client, RequestFailed(request.id, request.attempt, DROPPED))


def _key(item: MediaItem) -> tuple[Modality, str] | None:
    """Of its download, where it has one."""
    return (item.modality, item.source.url) if isinstance(item.source, Url) else None


def _where(request: Request, download: Download) -> str | None:
    """The first item of the request that names this download."""
    return next((item.where for item in request.media if _key(item) == download.key), None)


def _give(fetch: FetchRequest) -> ToPreprocessor:
    """The request with bytes in the place of URLs."""
    media: list[MediaItem] = []
    timings: list[Timing] = []
    for item in fetch.request.media:
        if (key := _key(item)) is None:
            media.append(item)
            continue
        download = fetch.downloads[key]
        assert download.blob is not None
        media.append(msgspec.structs.replace(item, source=Encoded(download.blob)))
        about = f"{item.where}: {download.blob.nbytes} bytes"
        timings.append(Timing("fetch", *download.span, about, item.where))
    request = msgspec.structs.replace(fetch.request, media=tuple(media))
    return ToPreprocessor(Fetched(request, tuple(timings)), fetch.after)
