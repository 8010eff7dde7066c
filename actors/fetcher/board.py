"""Requests and the downloads they share. Pure: what happened goes in, what is to be done comes out."""

from typing import NamedTuple

import msgspec

from ...protocol.blobs import BlobRef
from ...protocol.edges.fetcher_to_client import Failed
from ...protocol.edges.fetcher_to_preprocessor import Fetched
from ...protocol.errors import Failure
from ...protocol.prepared import Timing
from ...protocol.request import Encoded, MediaItem, Modality, Request, Url
from ..tombstones import Tombstones

DROPPED = Failure("cancelled", "The request was cancelled.")


class Flight:
    """One download and those who wait for it or read it."""

    __slots__ = ("blob", "joinable", "modality", "riders", "span", "url")

    def __init__(self, modality: Modality, url: str) -> None:
        self.modality: Modality = modality
        self.url = url
        self.riders: dict[Trip, None] = {}
        self.joinable = True
        """Another request for the same URL may share it."""
        self.blob: BlobRef | None = None
        """The bytes, when they are here."""
        self.span = (0.0, 0.0)
        """Start and end of the download, unix seconds."""

    @property
    def wanted(self) -> bool:
        return self.joinable or bool(self.riders)


class Trip:
    """One attempt of one request on its way to the preprocessor."""

    __slots__ = ("after", "flights", "over", "request", "sent")

    def __init__(self, request: Request, after: int) -> None:
        self.request = request
        self.after = after
        """Only a preprocessor of a later epoch may have it."""
        self.flights: dict[tuple[Modality, str], Flight] = {}
        self.sent = False
        """The preprocessor has it, and reads its bytes until it says `MediaRead`."""
        self.over = False
        """Nobody waits for the answer any more."""

    @property
    def name(self) -> tuple[str, int]:
        return self.request.id, self.request.attempt

    @property
    def arrived(self) -> bool:
        return all(flight.blob is not None for flight in self.flights.values())


class Start(NamedTuple):
    flight: Flight


class Cancel(NamedTuple):
    """Nobody waits for this download any more."""

    flight: Flight


class Free(NamedTuple):
    blob: BlobRef


class Give(NamedTuple):
    """To a preprocessor of an epoch behind `after`; answered by `delivered` where it could be sent."""

    message: Fetched
    after: int = 0


class Tell(NamedTuple):
    client: str
    message: Failed


class Linger(NamedTuple):
    """Over while the preprocessor may still read it: call `read` when `MediaRead` has not come for long."""

    id: str
    attempt: int


Effect = Start | Cancel | Free | Give | Tell | Linger


class Board:
    """Trips by (id, attempt); joinable flights by (modality, URL)."""

    def __init__(self) -> None:
        self._trips: dict[tuple[str, int], Trip] = {}
        self._flights: dict[tuple[Modality, str], Flight] = {}
        self._over = Tombstones()
        self.shared = 0
        """Downloads that were not made because another request's was there."""

    def __len__(self) -> int:
        return len(self._trips)

    def open(self, request: Request, after: int = 0) -> list[Effect]:
        """A higher attempt replaces a lower one; the same or a lower one again changes nothing."""
        earlier = [trip for trip in self._trips.values() if trip.request.id == request.id]
        if request.id in self._over:
            return [_dropped(request)]
        if any(trip.request.attempt >= request.attempt for trip in earlier):
            return []
        held = {key: flight for trip in earlier for key, flight in trip.flights.items()}
        effects: list[Effect] = []
        trip = self._trips[request.id, request.attempt] = Trip(request, after)
        for item in request.media:
            if not isinstance(item.source, Url) or (item.modality, item.source.url) in trip.flights:
                continue
            key = item.modality, item.source.url
            flight = held.get(key) or self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = Flight(*key)
                effects.append(Start(flight))
            elif key not in held:
                self.shared += 1
            trip.flights[key] = flight
            flight.riders[trip] = None
        for void in earlier:  # after the new one has joined: what it goes on with is not thrown away
            if not void.sent:
                effects.extend(self._drop(void))
        if trip.arrived:
            effects.append(_give(trip))
        return effects

    def landed(self, flight: Flight, blob: BlobRef, span: tuple[float, float]) -> list[Effect]:
        flight.blob, flight.span = blob, span
        return [_give(trip) for trip in flight.riders if trip.arrived]

    def failed(self, flight: Flight, failure: Failure) -> list[Effect]:
        """Everybody who waits for it fails; what else they fetched is given up."""
        self._forget(flight)
        effects: list[Effect] = []
        for trip in list(flight.riders):
            named = msgspec.structs.replace(failure, part=_where(trip.request, flight))
            effects.append(Tell(trip.request.client, Failed(*trip.name, named)))
            effects.extend(self._drop(trip, flight))
        return effects

    def retire(self, flight: Flight) -> list[Effect]:
        """From now on the same URL is downloaded anew."""
        self._forget(flight)
        return [] if flight.riders or flight.blob is None else [Free(flight.blob)]

    def idle(self) -> list[Flight]:
        """Landed and read by nobody: what can go when space is short."""
        return [flight for flight in self._flights.values() if flight.blob is not None and not flight.riders]

    def delivered(self, id: str, attempt: int) -> None:
        self._trips[id, attempt].sent = True

    def undelivered(self) -> list[Effect]:
        """What waits for a preprocessor."""
        return [_give(trip) for trip in self._trips.values() if trip.arrived and not trip.sent]

    def read(self, id: str, attempt: int) -> list[Effect]:
        """The preprocessor reads none of its bytes any more. Idempotent."""
        trip = self._trips.get((id, attempt))
        return [] if trip is None else self._drop(trip)

    def withdraw(self, id: str, attempt: int) -> list[Effect]:
        """These attempts are void, and a later one is welcome. Idempotent."""
        trips = [trip for trip in self._trips.values() if trip.request.id == id and trip.request.attempt <= attempt]
        return [effect for trip in trips if not trip.sent for effect in self._drop(trip)]

    def end(self, ids: tuple[str, ...]) -> list[Effect]:
        """Idempotent. Whose bytes nobody has begun to read is told so; for the others the preprocessor says it."""
        self._over.add(ids)
        ended = set(ids)
        trips = [trip for trip in self._trips.values() if trip.request.id in ended]
        return self._end(trips) + [_dropped(trip.request) for trip in trips if not trip.sent]

    def client_gone(self, client: str) -> list[Effect]:
        trips = [trip for trip in self._trips.values() if trip.request.client == client]
        self._over.add(trip.request.id for trip in trips)
        return self._end(trips)

    def preprocessor_gone(self) -> list[Effect]:
        """Its leases end; the ledger sends again what goes on."""
        return [effect for trip in list(self._trips.values()) if trip.sent for effect in self._drop(trip)]

    def _end(self, trips: list[Trip]) -> list[Effect]:
        effects: list[Effect] = []
        for trip in trips:
            if not trip.sent:
                effects.extend(self._drop(trip))
            elif not trip.over:
                trip.over = True
                effects.append(Linger(*trip.name))
        return effects

    def _drop(self, trip: Trip, failed: Flight | None = None) -> list[Effect]:
        """Take a trip off the board, and what nobody else needs with it; `failed` is over already."""
        del self._trips[trip.name]
        effects: list[Effect] = []
        for flight in trip.flights.values():
            del flight.riders[trip]
            if flight.riders or flight is failed:
                continue
            if flight.blob is None:
                self._forget(flight)
                effects.append(Cancel(flight))
            elif not flight.joinable:
                effects.append(Free(flight.blob))
        return effects

    def _forget(self, flight: Flight) -> None:
        if flight.joinable:
            flight.joinable = False
            del self._flights[flight.modality, flight.url]


def _dropped(request: Request) -> Tell:
    """The answer to `End` for a request that was still here: no byte of its media is read any more."""
    return Tell(request.client, Failed(request.id, request.attempt, DROPPED))


def _where(request: Request, flight: Flight) -> str | None:
    """The first item of the request that names this download."""
    for item in request.media:
        if isinstance(item.source, Url) and (item.modality, item.source.url) == (flight.modality, flight.url):
            return item.where
    return None


def _give(trip: Trip) -> Give:
    """The request with bytes in the place of URLs."""
    media: list[MediaItem] = []
    timings: list[Timing] = []
    for item in trip.request.media:
        if not isinstance(item.source, Url):
            media.append(item)
            continue
        flight = trip.flights[item.modality, item.source.url]
        assert flight.blob is not None
        media.append(MediaItem(item.modality, Encoded(flight.blob), item.where, item.uuid))
        timings.append(Timing("fetch", *flight.span, f"{item.where}: {flight.blob.nbytes} bytes"))
    return Give(Fetched(msgspec.structs.replace(trip.request, media=tuple(media)), tuple(timings)), trip.after)
