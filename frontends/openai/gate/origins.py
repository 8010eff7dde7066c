"""Which web pages may call. A browser sends requests of any page to any server that it reaches,
names the page in `Origin`, which no page can forge, and asks first (preflight) before it sends
JSON. A page whose own name points at this server (DNS rebinding) gives that as `Host`. Pure."""

import ipaddress
import re
from collections.abc import Mapping, Sequence

from aiohttp import hdrs

from ..errors import Refusal, refusal

SAFE_METHODS = frozenset({"GET", "HEAD"})
"""They change nothing, and without our consent a browser lets no page read the answers."""
CONSENT_SECONDS = 600
"""For which a browser need not ask again."""
EXPOSED = "Retry-After, X-Request-Id, X-Thespis-Ignored-Fields"
"""Headers of our answers that pages may read."""
PRIVATE_NAMES = ("localhost", "internal")
"""Ends of names that nobody can register: RFC 6761 and ICANN."""

NOT_ALLOWED = refusal(
    403,
    "origin_not_allowed",
    "Web pages of this origin may not use this server (--allowed-origins names those that may).",
)
UNKNOWN_HOST = refusal(
    403, "unknown_host", "This server is not known by that host name (--allowed-hosts names more)."
)
_TOKENS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]*)?")


class Origins:
    """The origins whose pages the operator lets call; none, unless told."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._all = "*" in allowed
        self._allowed = frozenset(origin.lower() for origin in allowed)

    def fault(self, method: str, origin: str | None) -> Refusal | None:
        """A page that may not call changes nothing here; what it may read its browser decides."""
        if origin is None or method in SAFE_METHODS or self._allows(origin):
            return None
        return NOT_ALLOWED

    def consent(self, origin: str | None) -> Mapping[str, str]:
        """Headers of every answer to a page that may call."""
        if origin is None or not self._allows(origin):
            return {} if self._all or not self._allowed else {hdrs.VARY: hdrs.ORIGIN}
        allowed: dict[str, str] = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*" if self._all else origin}
        if not self._all:
            allowed[hdrs.VARY] = hdrs.ORIGIN
        return {**allowed, hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED}

    def _allows(self, origin: str) -> bool:
        return self._all or (origin.isascii() and origin.lower() in self._allowed)


def preflight(asked: Mapping[str, str], methods: Sequence[str]) -> Mapping[str, str]:
    """Headers for a browser that asks for its page, beside those of `Origins.consent`. Whichever
    headers the page wants to send it may: clients have many of their own."""
    given: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(methods),
        hdrs.ACCESS_CONTROL_MAX_AGE: str(CONSENT_SECONDS),
    }
    wanted = asked.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    if _TOKENS.fullmatch(wanted):
        given[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = wanted
    if asked.get("Access-Control-Request-Private-Network") == "true":
        given["Access-Control-Allow-Private-Network"] = "true"
    return given


class Hosts:
    """The names that callers may know this server by. Told none, it minds them only on loopback
    without keys, where rebinding gets around all that keeps strangers out."""

    def __init__(
        self, allowed: Sequence[str] = (), keyless_loopback: bool = False, keyed: bool = False
    ) -> None:
        """`keyed`: callers need a key, which pages of others do not have."""
        self._allowed = frozenset(host.lower().removesuffix(".") for host in allowed)
        self._minds, self._keyed = bool(allowed) or keyless_loopback, keyed

    def fault(self, host: str | None) -> Refusal | None:
        return UNKNOWN_HOST if self._minds and host and not self._knows(host) else None

    def is_own_page(self, origin: str | None, host: str | None) -> bool:
        """Whether the page that calls came from this server: from the very name that it calls. That
        name says nothing where it may be a stranger's and no key keeps strangers out. A proxy may
        have taken off TLS: schemes are not compared."""
        if not origin or not host:
            return False
        scheme, _, place = origin.lower().partition("://")
        same = scheme in ("http", "https") and place == host.lower()
        return same and (self._keyed or self._knows(host))

    def _knows(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        name = found[1].lower().removesuffix(".") if found is not None and host.isascii() else None
        return name is not None and (name in self._allowed or _cannot_be_rebound(name))


def _cannot_be_rebound(name: str) -> bool:
    """An address, or a name that no stranger can own."""
    if name.startswith("[") or "." not in name or name.rpartition(".")[2] in PRIVATE_NAMES:
        return True
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
