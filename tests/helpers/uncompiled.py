"""librosa as the reference for resampling and reading, without numba, which would compile for a
quarter of a minute, where librosa is new, what neither of them calls.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Numba(ModuleType):
    """Its decorators give back what they decorate."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _unchanged


def _unchanged(*given: Any, **options: Any) -> Any:
    """With a function alone, a decorator; else what makes one."""
    return (
        given[0]
        if len(given) == 1 and callable(given[0]) and not options
        else lambda function: function
    )


@contextmanager
def uncompiled_librosa() -> Iterator[Any]:
    """The module, which loads its parts when they are wanted."""
    before = sys.modules.get("numba")
    sys.modules["numba"] = _Numba("numba")
    try:
        import librosa

        yield librosa
    finally:
        del sys.modules["numba"]
        if before is not None:
            sys.modules["numba"] = before
