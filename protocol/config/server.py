"""Configuration of the HTTP server: what an operator may set of it."""

import ipaddress
import re
from typing import Annotated, Literal

import msgspec

from .engine import HostName
from .ranges import check_ranges

OriginName = Annotated[str, "scheme://host or scheme://host:port, as browsers send it; *: all"]

_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/\\\s,*@?#]+")


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP frontend's own settings, each with its line in --help. Raises ValueError naming the
    field."""

    host: str = "127.0.0.1"
    """address to listen on"""
    port: int = 8000
    """port to listen on; 0: any free one"""
    api_key: tuple[str, ...] = ()
    """key that callers must send as a bearer token; repeat the flag for several (default: none)"""
    api_key_file: str | None = None
    """file with such keys, one a line (default: the one in THESPIS_API_KEY, if any)"""
    allowed_origins: tuple[OriginName, ...] = ()
    """origins whose web pages may call, such as https://app.example; * for all (default: none)"""
    allowed_hosts: tuple[HostName, ...] = ()
    """host names that callers may use beside addresses and localhost (default: any, but on loopback
    without a key none)"""
    max_connections_per_address: int = 1024
    """connections that one address (of IPv6: one /64) may hold, beyond: 429; 0: no limit"""
    header_timeout: float = 10.0
    """seconds for the head of a request, from its first byte, beyond: 408"""
    drain_timeout: float = 30.0
    """seconds that accepted requests may take after SIGTERM"""
    tool_call_parser: Literal["auto", "hermes", "json"] = "auto"
    """how the model writes tool calls; auto: as its chat template says"""
    max_body_mb: float = 256.0
    """MiB of one request's body, beyond: 413; all that are being read take twice that, beyond:
    429"""
    listen_fd: int | None = None
    # No flag: an already bound socket handed down by the command, so that the port is known before
    # any process starts.

    def __post_init__(self) -> None:
        check_ranges(self)
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"allowed_origins: {origin!r} is no origin, such as https://app.example or "
                    "http://localhost:3000."
                )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
