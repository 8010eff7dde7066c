"""A snapshot of the engine for who watches it, made of what the director tells and of this server's
own ledger. No clock and no socket here."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ....protocol.config.roles import HttpConfig
from ....protocol.config.sizes import in_bytes
from ....protocol.edges.control import Live, Share
from ....protocol.edges.detokenizer_to_client import Finished
from ....protocol.edges.view import Incarnation, ItemSeen, RequestSeen, Seen
from ....protocol.errors import Failure
from ....protocol.topology import ENCODER_CACHE, PREPROCESSOR, SCHEDULER
from ....protocol.version import version
from ...client.admission import Cost
from ...client.ledger import LedgerEntry
from .events import Events
from .requests import Requests, delivered
from .shapes import Fill, ItemShape, ProcessShape, Snapshot

ITEMS = 40


class Own(msgspec.Struct, frozen=True):
    """What this server knows itself."""

    entries: Sequence[LedgerEntry]
    taken: Cost
    share: Share
    draining: bool


class Picture:
    """Remembers what a snapshot has to be compared with; bounded like what it shows."""

    def __init__(self, config: HttpConfig, zero: float, key_of: Callable[[str], int]) -> None:
        """`zero`: Unix time when time.monotonic was 0."""
        self._config, self._zero = config, zero
        self._requests = Requests(self._unix, key_of)
        self._events = Events(self._unix)
        self._cpu: dict[str, tuple[int | None, float, float]] = {}
        """By role: pid, its CPU seconds, and when they were read."""

    def end(self, entry: LedgerEntry, outcome: Finished | Failure, now: float) -> None:
        """A request of this server is over."""
        self._requests.end(entry, outcome, now)
        self._events.ended(entry.request.id, isinstance(outcome, Finished))

    @property
    def unsettled(self) -> bool:
        """Somebody is still catching up after a death."""
        return self._requests.catching_up or self._events.waiting

    def draw(self, live: Live | None, own: Own, now: float) -> Snapshot:
        """`live`: None where the director did not answer; `now`: by time.monotonic."""
        seen = live.seen if live is not None else {}
        requests, left_out = self._requests.under_way(own.entries, _by_request(seen), now)
        tokens = {entry.request.id: delivered(entry) for entry in own.entries}
        happened = live.happened if live is not None else ()
        return Snapshot(
            now=self._unix(now),
            ready=live is not None and live.ready,
            draining=own.draining,
            model=self._config.client.name,
            version=version(),
            answered=live is not None,
            processes=[
                self._process(role, one, now)
                for role, one in (live.roles if live is not None else {}).items()
            ],
            fills=self._fills(live.stats if live is not None else {}, own),
            requests=requests,
            left_out=left_out,
            ended=self._requests.ended,
            items=_items(seen),
            events=self._events.look(happened, tokens, now),
        )

    def _unix(self, time: float) -> float:
        return round(self._zero + time, 3)

    def _process(self, role: str, one: Incarnation, now: float) -> ProcessShape:
        pid, before, since = self._cpu.get(role, (None, 0.0, now))
        load = None
        if one.pid is not None and pid == one.pid and now > since:
            load = round(max(0.0, one.cpu_seconds - before) / (now - since), 3)
        self._cpu[role] = one.pid, one.cpu_seconds, now
        return ProcessShape(
            role, one.state, one.epoch, one.restarts, one.pid, one.own_bytes, one.shared_bytes, load
        )

    def _fills(self, stats: Mapping[str, Mapping[str, float]], own: Own) -> dict[str, Fill]:
        engine = self._config.engine
        fills = {"admitted": Fill(own.taken.requests, own.share.requests)}
        if own.share.media_bytes:
            fills["media bytes"] = Fill(own.taken.media_bytes, own.share.media_bytes)
        if (said := stats.get(SCHEDULER)) is not None:
            fills["queue"] = Fill(said.get("waiting", 0), 0)
            fills["running"] = Fill(said.get("running", 0), engine.max_num_seqs)
            for name, kind in (("KV blocks", "kv_blocks"), ("state slots", "state_slots")):
                if of := said.get(kind, 0):
                    fills[name] = Fill(said.get(f"{kind}_used", 0), of)
        if (said := stats.get(ENCODER_CACHE)) is not None:
            of = in_bytes(engine.encoder_cache_gb)
            fills["embeddings"] = Fill(said.get("bytes_used", 0), of)
            if engine.encoder_cache_dir:
                of = in_bytes(engine.encoder_cache_dir_gb)
                fills["embeddings on disk"] = Fill(said.get("disk_bytes", 0), of)
        if (said := stats.get(PREPROCESSOR)) is not None:
            of = in_bytes(engine.mm_processor_cache_gb)
            fills["features"] = Fill(said.get("cache_bytes", 0), of)
        return fills


def _by_request(seen: Mapping[str, Seen]) -> dict[str, RequestSeen]:
    """The scheduler's word counts where it has a request that another tells of, too."""
    told = [
        one for role in (PREPROCESSOR, SCHEDULER) if role in seen for one in seen[role].requests
    ]
    return {one.id: one for one in told}


def _items(seen: Mapping[str, Seen]) -> list[ItemShape]:
    """Embeddings first; features are said of the same item where both are there."""
    features = {item.key: item for item in _of(seen, PREPROCESSOR)}
    shapes = [
        _item(embedding.key, embedding, features.pop(embedding.key, None))
        for embedding in _of(seen, ENCODER_CACHE)
    ]
    shapes += [_item(key, None, item) for key, item in features.items()]
    return shapes[:ITEMS]


def _of(seen: Mapping[str, Seen], role: str) -> Iterable[ItemSeen]:
    return seen[role].items if role in seen else ()


def _item(key: str, embedding: ItemSeen | None, features: ItemSeen | None) -> ItemShape:
    known = [one for one in (embedding, features) if one is not None]
    return ItemShape(
        key[:12],
        modality=next((one.modality for one in known if one.modality), ""),
        state=known[0].state,
        rows=max(one.rows for one in known),
        embedding_bytes=embedding.nbytes if embedding is not None else 0,
        features_bytes=features.nbytes if features is not None else 0,
        hits=embedding.hits if embedding is not None else 0,
        feature_hits=features.hits if features is not None else 0,
        holders=sum(one.holders for one in known),
    )
