"""Pages of documents on their way to the encoder: each is drawn and made into features when these
are asked for, so that a request's pages are never there all at once."""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from ...protocol import topology
from ...protocol.edges.preprocessor_to_encoder_cache import Features, FeaturesGone
from ...protocol.requests.request import Request
from .decoding import ItemDecoding
from .identities import cache_miss
from .pending_request import UNRENDERED, Feed, PagePlan, PendingRequest
from .shell import Shell
from .store import FeatureEntry


class Feeds:
    """Owns the feeds, by request."""

    def __init__(self, decoding: ItemDecoding, shell: Shell) -> None:
        self._decoding, self._shell = decoding, shell
        self._feeds: dict[str, Feed] = {}
        self._by_key: dict[str, dict[str, Feed]] = {}
        """By key of an embedding, then by request."""

    def __len__(self) -> int:
        return len(self._feeds)

    def open(self, pending: PendingRequest) -> None:
        """Of a request that is being submitted: pass on what is made, and make its pages as they
        are asked for."""
        drawn = (one for at, one in enumerate(pending.held) if at not in pending.pages)
        send_features(self._shell, pending.request, drawn)
        if pending.pages:
            self._begin(pending)

    def _begin(self, pending: PendingRequest) -> None:
        request = pending.request
        plans = {
            part.key: plan
            for plan in pending.plans
            for part in pending.held[plan.index].decoded.parts
        }
        feed = Feed(request, pending.fetched, plans)
        self._feeds[request.id] = feed
        for key in plans:
            self._by_key.setdefault(key, {})[request.id] = feed

    def wanted(self, keys: Iterable[str]) -> None:
        """The encoder asks for these now."""
        gone: list[str] = []
        for key in keys:
            if not self._make(key):
                gone.append(key)
        self._tell_gone(gone)
        self._decoding.pump()

    def _make(self, key: str) -> bool:
        """False: no request that has the page is left."""
        feed = next(iter(self._by_key.get(key, {}).values()), None)
        if feed is None:
            return False
        plan = feed.plans[key]
        if plan.key in feed.making:
            return True
        request = feed.request
        item = request.media[plan.index]
        page = PendingRequest(
            msgspec.structs.replace(request, media=(item,)), False, UNRENDERED, [], request.sampling
        )
        page.feed, page.digests, page.entries = feed, [plan.digest], [None]
        page.names = {0: plan.name} if plan.name else {}
        feed.making[plan.key] = page
        self._shell.guarded(page, lambda: self._want(page, plan))
        return True

    def _want(self, page: PendingRequest, plan: PagePlan) -> None:
        if not self._decoding.want(page, 0, plan.key, plan.options):
            raise cache_miss(page.request, 0)
        if page.complete:
            self.made(page)

    def made(self, page: PendingRequest) -> None:
        """Pass a page's features on. They are not kept here: a document would fill the store."""
        (entry,) = page.held
        assert page.feed is not None
        page.feed.making.pop(entry.key, None)
        send_features(self._shell, page.request, [entry])
        page.over = True
        self._decoding.store.pass_on(entry.key)
        self._decoding.release(page)

    def failed(self, page: PendingRequest) -> None:
        """It will not be made, so its request ends; others that have the page are told by their
        own."""
        assert page.feed is not None
        self.end(page.feed.request.id)

    def end(self, id: str) -> None:
        """The request is over, or begins anew."""
        feed = self._feeds.pop(id, None)
        if feed is None:
            return
        open_keys = [key for key, plan in feed.plans.items() if plan.key in feed.making]
        for key in feed.plans:
            self._by_key[key].pop(id, None)
            if not self._by_key[key]:
                del self._by_key[key]
        for page in feed.making.values():
            page.over = True
            self._decoding.release(page)
        if feed.fetched:
            self._shell.give_back(feed.request)
        self._tell_gone([key for key in open_keys if not self._make(key)])
        self._decoding.pump()
        if not self._feeds:
            self._decoding.forget_documents()

    def end_all(self, concerned: Callable[[Feed], bool]) -> None:
        for id in [id for id, feed in self._feeds.items() if concerned(feed)]:
            self.end(id)

    def _tell_gone(self, keys: list[str]) -> None:
        if keys:
            self._shell.send(topology.ENCODER_CACHE, FeaturesGone(tuple(keys)))


def send_features(shell: Shell, request: Request, entries: Iterable[FeatureEntry]) -> None:
    """Each item once, however often the prompt has it."""
    for entry in {entry.key: entry for entry in entries if not entry.recalled}.values():
        leases: Counter[str] = entry.leases
        for part, kept in zip(entry.decoded.parts, entry.kept, strict=True):
            what = part.key, part.kind, part.rows, part.tensors
            features = Features(request.id, request.client, *what, entry.ready, kept)
            if shell.send(topology.ENCODER_CACHE, features):
                leases[part.key] += 1
