"""The native kernels as tests get them."""

import shutil
from functools import cache

import pytest

from thespis.gpu_runtime.native.build import (
    BUILD_SECONDS,
    LEVELS,
    best_level,
    library_path,
    processor_features,
)
from thespis.gpu_runtime.native.library import Kernels

needs_kernels = pytest.mark.skipif(
    shutil.which("g++") is None or not processor_features() >= LEVELS[-1].features,
    reason="needs g++ and AVX2",
)
asks_the_compiler = pytest.mark.timeout(2 * BUILD_SECONDS + 60)
"""As the first test does that needs them, for both widths."""


@cache
def kernels(wide: bool = False) -> Kernels:
    """`wide`: the bodies for vectors of 16 floats, in the instructions of a processor that may have
    only those of 8."""
    return Kernels(
        str(library_path(LEVELS[-1], ("-DLANES=16", "-O1")) if wide else library_path(best_level()))
    )
