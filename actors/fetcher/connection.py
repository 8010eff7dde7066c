"""How connections are made: names resolved once and checked, peers checked before a byte is sent to
them."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from .policy import Policy, unavailable

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to addresses. Raises OSError."""
_LOOKUPS = ThreadPoolExecutor(32, "lookup")
"""Apart from the loop's own few threads: names whose servers never answer must not hold up the
others."""


async def system_lookup(host: str, port: int) -> list[str]:
    def look() -> list[Any]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedResolver(AbstractResolver):
    """Gives out the addresses of a name if the policy allows every one of them. Raises FetchError.

    A name with a public and a private address is refused, not fetched from the public one: nobody
    honest has such a name, and which of the two answers is for its owner to choose, lookup by
    lookup.
    """

    def __init__(self, policy: Policy, lookup: Resolver = system_lookup) -> None:
        self._policy = policy
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            addresses = await self._lookup(host, port)
        except (OSError, UnicodeError):  # the latter for labels that are too long
            raise unavailable("The host's name cannot be resolved.", retry=True) from None
        if not addresses or not all(map(self._policy.allows, addresses)):
            raise self._policy.refusal()
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class CheckedConnector(TCPConnector):
    """Looks at the peer's own address after connecting, whatever the resolver said."""

    def __init__(self, policy: Policy, resolver: AbstractResolver, **options: Any) -> None:
        # No cache of names here: each connection resolves once, and what was checked is what is
        # connected to.
        super().__init__(resolver=resolver, use_dns_cache=False, limit=0, **options)
        self._policy = policy

    async def connect(
        self, req: ClientRequest, traces: list[Any], timeout: ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        if not peer or not self._policy.allows(str(peer[0])):
            connection.close()
            raise self._policy.refusal()
        return connection
