"""The real fetcher under its real policy, on an internet that is a table: names are looked up here,
and every address is this machine, at the port that the URL names.

A connection to a public address believes that it has reached it. So does one to a forbidden
address: were one ever made, whoever listens at its port would hear of it.
"""

import asyncio
import socket
from itertools import count
from typing import Any

from aiohttp.abc import AbstractResolver

from thespis.actors.fetcher.actor import Fetcher
from thespis.actors.fetcher.connection import CheckedConnector, CheckedResolver
from thespis.actors.fetcher.policy import Policy
from thespis.actors.kernel.launch import Launch

PUBLIC, OTHER_PUBLIC, PUBLIC_SIX = (
    "93.184.216.34",
    "151.101.1.69",
    "2606:2800:220:1:248:1893:25c8:1946",
)
CHEAT = "93.184.216.99"
"""A public address behind which this machine answers: its connections show where they really
end."""
NAMES: dict[str, tuple[str, ...]] = {
    "pictures.example": (PUBLIC,),
    "cdn.example": (OTHER_PUBLIC,),
    "six.example": (PUBLIC_SIX,),
    "xn--bcher-kva.example": (PUBLIC,),
    "mixed.example": ("10.0.0.5", PUBLIC, "127.0.0.1", "::1"),
    "cheat.example": (CHEAT,),
    "localhost": ("127.0.0.1", "::1"),
    "private.example": ("10.0.0.5", "192.168.1.1", "172.16.0.1", "fd00::1"),
    "metadata.example": ("169.254.169.254", "fe80::1"),
    "cgnat.example": ("100.64.0.1",),
    "mapped.example": ("::ffff:127.0.0.1", "::ffff:10.0.0.5"),
    "nat64.example": ("64:ff9b::7f00:1", "64:ff9b::a00:5"),
    "six-to-four.example": ("2002:7f00:1::", "2001::1"),
    "special.example": ("0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "ff02::1", "::"),
}
_asked = count()


async def look_up(host: str, port: int) -> list[str]:
    if host == "rebind.example":  # public when it is checked, this machine when it is asked again
        return [PUBLIC] if next(_asked) % 2 == 0 else ["127.0.0.1"]
    if host not in NAMES:
        raise OSError(-2, "Name or service not known")
    return list(NAMES[host])


class FarSocket(socket.socket):
    """Connected to this machine, whatever it was told to connect to, and of another opinion
    itself."""

    def __init__(self, claimed_family: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._claimed_family = claimed_family
        self._claimed: Any = None

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AddressFamily(self._claimed_family)

    def connect(self, address: Any) -> None:
        self._claimed = address
        super().connect(("127.0.0.1", address[1]))

    def getpeername(self) -> Any:
        return super().getpeername() if self._claimed[0] == CHEAT else self._claimed


def resolver(policy: Policy) -> CheckedResolver:
    return CheckedResolver(policy, look_up)


def connector(policy: Policy, resolver: AbstractResolver) -> CheckedConnector:
    return CheckedConnector(policy, resolver, socket_factory=lambda info: FarSocket(info[0]))


def main(launch: Launch) -> None:
    # Not on uvloop, which would ask the system itself where a connection ends.
    asyncio.run(Fetcher(launch, resolver, connector).run())
