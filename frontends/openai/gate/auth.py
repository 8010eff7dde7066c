"""API keys: which callers are let in, and as which tenant."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from hmac import compare_digest

OPEN_PATHS = frozenset({"/health", "/live", "/ping"})
"""Answered without a key: probes carry none."""
WATCHED_PATHS = frozenset({"/metrics", "/load", "/version"})
"""Answered without a key, unless the operator says otherwise: they tell numbers, and no words of
anybody's."""


def tenant_of(key: str) -> str:
    """A digest that is the same in every process; the key itself stays here, whatever bytes it
    has."""
    return blake2b(
        key.encode("utf-8", "surrogateescape"), digest_size=16, person=b"thespis-tenant"
    ).hexdigest()


class Keys:
    """The keys that callers may present. Without any, all are let in, as one nameless tenant."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._tenants = tuple(tenant_of(key) for key in keys)

    def tenant(self, authorization: Sequence[str]) -> str | None:
        """The tenant; None where the Authorization headers are not one known key. Takes the same
        time whichever key it is."""
        if not self._tenants:
            return ""
        scheme, _, key = (authorization[0] if len(authorization) == 1 else "").partition(" ")
        given = tenant_of(key.strip())
        known = False
        for tenant in self._tenants:
            known |= compare_digest(tenant, given)
        return given if known and scheme.lower() == "bearer" else None

    @property
    def asked_for(self) -> bool:
        """Whether callers need one."""
        return bool(self._tenants)

    def number(self, tenant: str) -> int:
        """Which of the keys it is, from 1 on, in the order in which they were given; 0: none."""
        return self._tenants.index(tenant) + 1 if tenant in self._tenants else 0
