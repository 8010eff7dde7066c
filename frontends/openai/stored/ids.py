"""Names of stored things. Only a name of exactly this form ever becomes part of a path. Pure."""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

Prefix = Literal["file-", "resp_", "batch_"]
_TAIL = re.compile(r"[0-9a-f]{14}[0-9a-f]{24}")
_TENANT = re.compile(r"[0-9a-f]{32}")
KEYLESS = "keyless"
"""The folder of those who call a server that asks for no key."""


class Family(NamedTuple):
    """Things of one kind."""

    prefix: Prefix
    folder: str

    def is_id(self, text: object) -> bool:
        if not (isinstance(text, str) and text.startswith(self.prefix)):
            return False
        return _TAIL.fullmatch(text, len(self.prefix)) is not None

    def new_id(self, microseconds: int, random: Callable[[int], str]) -> str:
        """Names sort by the time at which they were drawn; 96 bits of them cannot be guessed."""
        return f"{self.prefix}{microseconds:014x}{random(12)}"

    def microseconds(self, id: str) -> int:
        """When it was drawn."""
        return int(id[len(self.prefix) : len(self.prefix) + 14], 16)


FILES = Family("file-", "files")
RESPONSES = Family("resp_", "responses")
BATCHES = Family("batch_", "batches")


def tenant_folder(tenant: str) -> str:
    """`tenant`: as `Keys` knows it, a digest, or nothing where no key is asked for."""
    if not tenant:
        return KEYLESS
    assert _TENANT.fullmatch(tenant), "a tenant is a digest"
    return tenant


def is_tenant_folder(name: str) -> bool:
    return name == KEYLESS or _TENANT.fullmatch(name) is not None
