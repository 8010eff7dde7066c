"""Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a draw is a pure function of
its key and counter.

So a sample depends on the request's seed, the choice and the output position only: not on the
batch, the order of steps or how often the process has been restarted.
"""

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))


def philox(counter: U64, key: U64) -> U64:
    """`counter` [4, n] and `key` [2, n] of 32-bit words in uint64; four random 32-bit words [4,
    n]."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> _32) ^ c1 ^ k0,
            product1 & _LOW,
            (product0 >> _32) ^ c3 ^ k1,
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return np.stack((c0, c1, c2, c3))


def uniform(
    seeds: NDArray[np.int64], choices: NDArray[np.int64], positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """One number in [0, 1) with 53 bits per (seed, choice, output position)."""
    wide, choice, where = (each.view(np.uint64) for each in (seeds, choices, positions))
    counter = np.stack((where & _LOW, where >> _32, choice & _LOW, np.zeros_like(where)))
    words = philox(counter, np.stack((wide & _LOW, wide >> _32)))
    bits: U64 = ((words[0] << _32) | words[1]) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53
