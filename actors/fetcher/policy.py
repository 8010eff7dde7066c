"""Which URLs may be fetched and which addresses connected to. Pure: strings in, a checked URL or a
refusal out.

The URL is parsed once, by the library that will also connect, so that the check and the connection
cannot disagree.
"""

import ipaddress
import re
from collections.abc import Iterable

from yarl import URL

from ...protocol.errors import Kind

KINDS = "http(s):, data: and file: URLs"
MAX_URL = 16384
"""Characters."""
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)")

_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL = tuple(
    ipaddress.ip_network(block)
    for block in (
        "192.0.0.0/24", "192.88.99.0/24",  # protocol assignments, 6to4 relays
        # Teredo and its like, documentation, 6to4
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
"""Refused though the standard library calls some of them global. The IPv6 forms that hide an IPv4
address lie in here (6to4, Teredo), outside of 2000::/3 (mapped, compatible, translated, NAT64), or
below any prefix at all: ISATAP."""
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
"""RFC 5214: the upper half of an interface identifier whose lower half is an IPv4 address; the
second for a global one."""

FORBIDDEN_URL = "forbidden_url"
"""The code of a URL that the operator's rules do not let through."""
INVALID_URL = "invalid_url"
"""The code of what cannot be read as a URL with a host."""


class FetchError(Exception):
    """One item cannot be fetched; `text` is for the client: no address, no path, no exception
    text."""

    def __init__(
        self,
        kind: Kind,
        text: str,
        retry: bool = False,
        retry_after: float = 0.0,
        code: str | None = None,
    ) -> None:
        super().__init__(text)
        self.kind: Kind = kind
        self.text = text
        self.code = code
        """A stable word for programs, where `kind` is too coarse."""
        self.retry = retry
        """Another attempt may succeed ..."""
        self.retry_after = retry_after
        """... after this many seconds."""


def forbidden(text: str) -> FetchError:
    """The operator's rules do not let this URL through."""
    return FetchError("invalid_request", text, code=FORBIDDEN_URL)


def invalid(text: str) -> FetchError:
    """This is no URL that anything could be fetched from."""
    return FetchError("invalid_request", text, code=INVALID_URL)


def unavailable(text: str, retry: bool = False, retry_after: float = 0.0) -> FetchError:
    """What the URL leads to cannot be had."""
    return FetchError("media_unavailable", text, retry, retry_after)


def is_public(address: str) -> bool:
    """Whether packets to `address` leave for the public internet, and for nothing that a form of
    writing hides."""
    ip = _address(address)
    if ip is None or "%" in address:  # a zone: it names an interface of this machine
        return False
    if any(ip.version == block.version and ip in block for block in _SPECIAL):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        return ip in _GLOBAL_V6 and ip.is_global and (int(ip) >> 32) & 0xFFFFFFFF not in _ISATAP
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def normal_host(host: str) -> str:
    """Lower case, punycode, no trailing dot; addresses in their one canonical form. Raises
    FetchError."""
    try:
        plain = URL.build(scheme="http", host=host.rstrip("/")).raw_host or ""
    except ValueError:
        plain = ""
    plain = plain.removesuffix(".")
    if "%" in plain or not plain:
        raise invalid("The URL names no valid host.")
    if ":" in plain:
        return _canonical(plain)
    labels = plain.split(".")
    if not all(labels):
        raise invalid("The URL names no valid host.")
    # Browsers and inet_aton read 127.1, 0x7f.1 and 2130706433 as addresses.
    return _canonical(plain) if _NUMBER.fullmatch(labels[-1]) else plain


def _canonical(address: str) -> str:
    found = _address(address)
    if found is None:
        raise forbidden("The URL names its host by an unusual form of an address.")
    return str(found)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _normal_domain(domain: str) -> str:
    try:
        return normal_host(domain)
    except FetchError:
        text = f"{domain!r} is no host name (without scheme, port or wildcard)."
        raise ValueError(text) from None


class Policy:
    """The operator's rules for one engine."""

    def __init__(self, allowed_domains: Iterable[str] = (), allow_private: bool = False) -> None:
        """Raises ValueError for a domain that is none."""
        self._allowed = tuple(_normal_domain(domain) for domain in allowed_domains)
        self._allow_private = allow_private

    def check(self, url: str, hop: bool = False) -> URL:
        """The URL to connect to, host normalised; scheme, host and, where it is one, address
        checked.

        `hop`: it is the target of a redirect, about which the client learns nothing. Raises
        FetchError.
        """
        if len(url) > MAX_URL or _FORBIDDEN.search(url):
            raise invalid("The URL is too long or holds characters that no URL may hold.")
        try:
            parsed = URL(url)
            host, user, port = parsed.raw_host, parsed.user or parsed.password, parsed.port
        except ValueError:
            raise invalid("The URL cannot be read.") from None
        if parsed.scheme not in ("http", "https"):
            if hop:
                raise invalid("The URL redirects to what is neither http nor https.")
            raise invalid(f"Media URLs must be {KINDS}.")
        if user is not None:
            raise forbidden("The URL must not hold a user name or password.")
        if not host or not port:
            raise invalid("The URL names no valid host.")
        host = normal_host(host)
        if self._allowed and host not in self._allowed:
            if hop:
                raise forbidden("A redirect leads to a domain that is not allowed.")
            names = ", ".join(self._allowed)
            raise forbidden(f"The domain {host!r} is not among the allowed media domains: {names}.")
        if _address(host) is not None and not self.allows(host):
            raise self.refusal()
        return parsed.with_host(host)

    def allows(self, address: str) -> bool:
        """Whether this address, from a resolver or of a connected peer, may be talked to."""
        return self._allow_private or is_public(address)

    @staticmethod
    def refusal() -> FetchError:
        return forbidden(
            "The URL leads to an address that is not public (--allow-private-media opens them)."
        )
