"""The generator is Philox4x32-10, and draws look uniform."""

import numpy as np
import pytest

from thespis.gpu_runtime.sampling.philox import philox, uniform

# The known answers that come with Random123.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]
) -> None:
    out = philox(
        np.array(counter, dtype=np.uint64)[:, None], np.array(key, dtype=np.uint64)[:, None]
    )
    assert tuple(out[:, 0].tolist()) == words


def test_draws_are_uniform_along_every_part_of_the_counter() -> None:
    n = 20_000
    along, still = np.arange(n, dtype=np.int64), np.full(n, 7, dtype=np.int64)
    for draws in (
        uniform(along, still, still),
        uniform(still, along, still),
        uniform(still, still, along),
    ):
        counts, _ = np.histogram(draws, bins=20, range=(0, 1))
        chi2 = ((counts - n / 20) ** 2 / (n / 20)).sum()
        assert chi2 < 50  # 19 degrees of freedom: 1 in 10,000 is above 50


def test_a_negative_seed_is_a_seed() -> None:
    one, two = (uniform(np.array([s]), np.array([0]), np.array([0]))[0] for s in (-1, 1))
    assert one != two
