"""Pages of documents among the items of a request: how each becomes features when it is asked for,
and what is known of it before."""

from typing import Any

import msgspec

from ...protocol.config.roles import PreprocessorConfig
from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.requests.request import Page, Request
from ..jobs.identity import item_key, key_salt, page_digest, part_keys
from .documents import expand
from .pending_request import PagePlan, PendingRequest
from .store import FeatureEntry
from .validation import RequestValidator

NOWHERE = ""
"""As the worker that holds the features of a page."""


class PagePlans:
    """By one engine's options."""

    def __init__(self, config: PreprocessorConfig, validator: RequestValidator) -> None:
        self._config, self._validator = config, validator

    def options(self, request: Request, index: int) -> tuple[dict[str, Any], dict[str, Any], str]:
        """(processor, io, salt) of an item's key; of a document those of its pages."""
        processor, io = self._validator.options.of(request, index)
        io |= self._validator.options.beside(request, index)
        return processor, io, self.salt(request, request.era or "")

    def salt(self, request: Request, era: str) -> str:
        return key_salt(request.tenant, self._config.model.fingerprint, era)

    def expand(self, pending: PendingRequest) -> None:
        """Pages take the places of documents. Raises RequestError."""
        expanded = expand(pending.request, pending.documents)
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
        processor, io, salt = self.options(pending.request, index)
        key = item_key(digest, "image", processor, io, salt)
        pending.plans.append(PagePlan(index, digest, key, processor, io, salt))
        pending.entries[index] = FeatureEntry(_named(pending.pages[index], key), NOWHERE)


def in_era(request: Request, era: str) -> Request:
    """Its own, where it had one in an earlier attempt: its media keep their keys, whatever has been
    reset since."""
    return request if request.era is not None else msgspec.structs.replace(request, era=era)


def _named(layout: Decoded, key: str) -> Decoded:
    keys = part_keys(key, len(layout.parts))
    parts = tuple(
        msgspec.structs.replace(part, key=own) for part, own in zip(layout.parts, keys, strict=True)
    )
    return msgspec.structs.replace(layout, key=key, parts=parts)
