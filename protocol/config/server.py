"""Configuration of the HTTP server: what an operator may set of it."""

import ipaddress
import re
from typing import Annotated, Literal

import msgspec

from .engine import HostName, doc
from .ranges import check_ranges

OriginName = Annotated[
    str, doc("`scheme://host` or `scheme://host:port`, as browsers send it; * stands for all")
]

_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/\\\s,*@?#]+")


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP frontend's own settings. Raises ValueError naming the field."""

    host: Annotated[str, doc("address to listen on")] = "127.0.0.1"
    port: Annotated[int, doc("port to listen on; 0: any free one")] = 8000
    api_key: Annotated[
        tuple[str, ...],
        doc(
            "key that callers must send as a bearer token; repeat the flag for several (default: "
            "none)"
        ),
    ] = ()
    api_key_file: Annotated[
        str | None,
        doc("file with such keys, one a line (default: the one in THESPIS_API_KEY, if any)"),
    ] = None
    allowed_origins: Annotated[
        tuple[OriginName, ...],
        doc(
            "origins whose web pages may call, such as https://app.example; * for all (default: "
            "none)"
        ),
    ] = ()
    allowed_hosts: Annotated[
        tuple[HostName, ...],
        doc(
            "host names that callers may use beside addresses and localhost (default: any, but "
            "on loopback without a key none)"
        ),
    ] = ()
    max_connections_per_address: Annotated[
        int,
        doc("connections that one address (of IPv6: one /64) may hold, beyond: 429; 0: no limit"),
    ] = 1024
    header_timeout: Annotated[
        float, doc("seconds for the head of a request, from its first byte, beyond: 408")
    ] = 10.0
    drain_timeout: Annotated[
        float, doc("seconds that accepted requests may take after SIGTERM")
    ] = 30.0
    tool_call_parser: Annotated[
        Literal["auto", "hermes", "json"],
        doc("how the model writes tool calls; auto: as its chat template says"),
    ] = "auto"
    max_body_mb: Annotated[
        float,
        doc(
            "MiB of one request's body, beyond: 413; all that are being read take twice that, "
            "beyond: 429"
        ),
    ] = 256.0
    listen_fd: int | None = None
    """An already bound socket handed down by the command, so that the port is known before any
    process starts."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"allowed_origins: {origin!r} is no origin, such as https://app.example or "
                    f"http://localhost:3000."
                )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
