"""How much is stored, and how much may be: by tenant and in all, in number and in bytes."""

import os
import time
from pathlib import Path

import msgspec

from ....protocol.errors import RequestError, refuse
from .folder import names
from .ids import Family, is_tenant_folder

CONTENT = "content"
AROUND = 4096
"""Bytes that count for an entry beside its content."""

TICK_NS = 100_000_000
"""A folder that has just been changed may be changed again without another time."""


class Bounds(msgspec.Struct, frozen=True):
    """The most that one store takes."""

    tenant_bytes: int
    total_bytes: int
    tenant_entries: int = 10_000
    total_entries: int = 100_000


class Sum(msgspec.Struct):
    entries: int = 0
    nbytes: int = 0

    def add(self, other: "Sum") -> None:
        self.entries += other.entries
        self.nbytes += other.nbytes


class Books:
    """Counts what lies on disk, since several engines may fill one folder: a tenant's folder is
    looked through again only when somebody has changed it. Not thread-safe."""

    def __init__(self, root: Path, family: Family, bounds: Bounds) -> None:
        self.root, self.bounds = root, bounds
        self._family = family
        self._known: dict[str, tuple[int, Sum]] = {}
        """By tenant's folder: when it was changed, and what was in it."""

    def check(self, tenant: str, nbytes: int, beside: int = 0, beside_all: int = 0) -> None:
        """Whether one entry more has room, `beside` bytes that the tenant, and that all tenants are
        writing. Raises RequestError."""
        bounds, own, total = self.bounds, self.of(tenant), self.total()
        if nbytes + AROUND > bounds.tenant_bytes:
            text = f"It is larger than what one key may store, {_size(bounds.tenant_bytes)}."
            raise refuse("too_large", text, code="file_too_large")
        if own.entries >= bounds.tenant_entries:
            raise _full(f"You store {own.entries} already, as many as one key may")
        if own.nbytes + beside + nbytes + AROUND > bounds.tenant_bytes:
            raise _full(f"With it you would store more than {_size(bounds.tenant_bytes)}")
        if (
            total.entries >= bounds.total_entries
            or total.nbytes + beside_all + nbytes + AROUND > bounds.total_bytes
        ):
            text = "The server stores as much as it may; try again later."
            raise refuse("unavailable", text, code="storage_full")

    def of(self, tenant: str) -> Sum:
        folder = self.root / tenant
        try:
            changed = os.stat(folder).st_mtime_ns
        except FileNotFoundError:
            return Sum()
        known = self._known.get(tenant)
        if known is None or known[0] != changed:
            counted = self._count(folder)
            if time.time_ns() - changed < TICK_NS:
                self._known.pop(tenant, None)
                return counted
            known = self._known[tenant] = (changed, counted)
        return known[1]

    def total(self) -> Sum:
        whole = Sum()
        for tenant in names(self.root):
            if is_tenant_folder(tenant):
                whole.add(self.of(tenant))
        return whole

    def _count(self, folder: Path) -> Sum:
        found = Sum()
        for name in names(folder):
            if self._family.is_id(name):
                try:
                    size = os.stat(folder / name / CONTENT).st_size
                except OSError:  # it is being removed
                    continue
                found.add(Sum(1, size + AROUND))
        return found


def _full(text: str) -> RequestError:
    return refuse("too_large", f"{text}: delete some first.", code="storage_full")


def _size(nbytes: int) -> str:
    return f"{nbytes / (1 << 30):g} GiB" if nbytes >= 1 << 30 else f"{nbytes / (1 << 20):g} MiB"
