"""Pages of documents among the items of a request: how each becomes features when it is asked for,
and what is known of it before."""

from collections.abc import Callable
from functools import partial

import msgspec

from ...protocol.config.roles import PreprocessorConfig
from ...protocol.requests.request import Page, Request
from ..jobs.identity import ItemOptions, item_key, key_salt, named, page_digest
from .documents import expand
from .identities import Identities
from .pending_request import PagePlan, PendingRequest
from .store import FeatureEntry
from .validation import RequestValidator

NOWHERE = ""
"""As the worker that holds the features of a page."""


class PagePlans:
    """By one engine's options."""

    def __init__(
        self, config: PreprocessorConfig, validator: RequestValidator, identities: Identities
    ) -> None:
        self._config, self._validator, self._identities = config, validator, identities

    def options(
        self,
        request: Request,
        index: int,
        lasting: bool = False,
        unseen: frozenset[int] = frozenset(),
    ) -> ItemOptions:
        """Of an item; of a document those of its pages. `lasting`: whatever is reset; `unseen`:
        documents of which no page will be shown."""
        processor, io = self._validator.options.of(request, index)
        io |= self._validator.options.beside(request, index, unseen)
        era = "" if lasting else request.era or ""
        salt = key_salt(request.tenant, self._config.model.fingerprint, era)
        return ItemOptions(processor, io, salt)

    def of_documents(self, request: Request) -> Callable[[int], ItemOptions]:
        """The same of the documents of a request, before it is known what they hold: whether a
        picture has company must be said as it will be. Raises RequestError."""
        unseen: frozenset[int] = frozenset()
        if self._config.model.siblings.get("image") == "image":
            unseen = self._identities.texts(request.media)
        return partial(self.options, request, unseen=unseen)

    def expand(self, pending: PendingRequest) -> None:
        """Pages take the places of documents. Raises RequestError."""
        expanded = expand(pending.request, pending.documents, self._config.hasher)
        pending.documents = {}
        pending.request, pending.pages = expanded.request, expanded.pages
        pending.page_digests = {
            index: page_digest(self._config.hasher, source, whole)
            for index, whole in expanded.digests.items()
            if isinstance(source := expanded.request.media[index].source, Page)
        }

    def lay(self, pending: PendingRequest, index: int) -> None:
        """Note what is known of a page, and how it is made."""
        digest = pending.page_digests[index]
        options = self.options(pending.request, index)
        key = item_key(digest, "image", *options)
        name = ""
        if self._config.recalls:
            lasting = self.options(pending.request, index, lasting=True)
            name = item_key(digest, "image", *lasting)
        pending.plans.append(PagePlan(index, digest, key, options, name))
        pending.entries[index] = FeatureEntry(named(pending.pages[index], key), NOWHERE)


def in_era(request: Request, era: str) -> Request:
    """Its own, where it had one in an earlier attempt: its media keep their keys, whatever has been
    reset since."""
    return request if request.era is not None else msgspec.structs.replace(request, era=era)
