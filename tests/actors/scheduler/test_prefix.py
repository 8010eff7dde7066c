"""Blocks are equal where everything that their keys and values depend on is."""

from array import array

import msgspec
import pytest

from thespis.actors.scheduler.prefix import HashChain

from .bench import prepared

TOKENS = tuple(range(12))


def hashes(planes: list[list[int]] | None) -> list[bytes]:
    positions = None if planes is None else b"".join(array("i", plane).tobytes() for plane in planes)
    chain = HashChain(msgspec.structs.replace(prepared("r", TOKENS), positions=positions), (), 4)
    chain.extend(TOKENS, [], len(TOKENS))
    return chain.hashes


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("plane", [0, 1, 2, 3])
def test_every_plane_counts_from_the_block_in_which_it_differs(count: int, plane: int) -> None:
    planes = [list(range(12)) for _ in range(count)]
    same = hashes(planes)
    planes[plane % count][6] += 1
    other = hashes(planes)
    assert [a == b for a, b in zip(same, other, strict=True)] == [True, False, False]
    assert hashes(None) != same


def test_no_tenant_is_named_like_another_with_a_length() -> None:
    def of(tenant: str, rope_bound: int | None) -> list[bytes]:
        chain = HashChain(msgspec.structs.replace(prepared("r", TOKENS), tenant=tenant), (), 4, rope_bound)
        chain.extend(TOKENS, [], len(TOKENS))
        return chain.hashes

    assert of("12 a", None) != of("a", 8) != of("a", None)
