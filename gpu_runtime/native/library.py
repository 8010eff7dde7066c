"""The kernels as Python calls them. They are loaded after torch, whose OpenMP threads they then
share."""

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from .build import Unavailable, best_level, library_path

log = logging.getLogger(__name__)


class Rows(ctypes.Structure):
    """The struct of that name in attention.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("tables", "lengths", "tasks", "firsts")),
        ("table_stride", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("count", "tasks_count", "piece")),
    )


class Chunks(ctypes.Structure):
    """The struct of that name in attention.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("tables", "firsts", "lows", "highs")),
        ("table_stride", ctypes.c_int64),
        ("count", ctypes.c_int32),
    )


class Attention(ctypes.Structure):
    """The struct of that name in attention.h."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ("rows", "chunks", "pool", "query", "sinks", "out", "scratch")
        ),
        *((name, ctypes.c_int64) for name in ("row_stride", "head_stride")),
        *(
            (name, ctypes.c_int32)
            for name in ("heads", "kv_heads", "width", "block_size", "window", "is_bf16", "threads")
        ),
        *((name, ctypes.c_float) for name in ("scale", "softcap")),
    )


class FloatMultiplication(ctypes.Structure):
    """The struct FloatProduct in float_product.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "panels", "bias", "out")),
        ("row_stride", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("rows", "inputs", "outputs", "type", "threads")),
    )


class Numbers(ctypes.Structure):
    """The struct of that name in dense.cpp."""

    _fields_ = (
        ("at", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("item", "head", "row")),
    )


class DenseAttention(ctypes.Structure):
    """The struct of that name in dense.cpp."""

    _fields_ = (
        *((name, Numbers) for name in ("query", "key", "value", "out")),
        *(
            (name, ctypes.c_int32)
            for name in ("items", "heads", "kv_heads", "queries", "keys", "width", "threads")
        ),
        ("scale", ctypes.c_float),
    )


Kernel = Callable[[Attention], None]


class Multiplication(ctypes.Structure):
    """The struct Product in product.cpp."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ("x", "panels", "scales", "bias", "out", "steps", "row_scales")
        ),
        ("row_stride", ctypes.c_int64),
        *(
            (name, ctypes.c_int32)
            for name in ("rows", "inputs", "outputs", "most", "is_bf16", "threads")
        ),
    )


class Kernels:
    """One shared object, loaded."""

    def __init__(self, path: str) -> None:
        """Raises OSError where the file cannot be loaded."""
        self._library = ctypes.CDLL(path)
        self.attend = _kernel(self._library.thespis_attend)
        """Of rows."""
        self.attend_chunks = _kernel(self._library.thespis_attend_chunks)
        self.attend_dense = self._library.thespis_attend_dense
        self.attend_dense.argtypes = (ctypes.POINTER(DenseAttention),)
        pointer, number, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
        self.norm = self._library.thespis_norm
        self.norm.argtypes = (
            pointer,
            pointer,
            pointer,
            pointer,
            number,
            number,
            ctypes.c_float,
            flag,
            flag,
        )
        self.gate = self._library.thespis_gate
        self.gate.argtypes = (pointer, pointer, number, number, flag, flag)
        self.turn = self._library.thespis_turn
        self.turn.argtypes = (pointer, pointer, number, number, number, number, flag, flag)
        self.quick_gelu = self._library.thespis_quick_gelu
        self.quick_gelu.argtypes = (pointer, pointer, number, flag, flag)
        self.multiply_floats = self._library.thespis_multiply_floats
        self.multiply_floats.argtypes = (
            pointer,
        )  # to a FloatMultiplication: one that ctypes makes costs time at each call
        self.multiply = self._library.thespis_multiply
        self.multiply.argtypes = (ctypes.POINTER(Multiplication),)
        for function in (
            self.norm,
            self.gate,
            self.turn,
            self.quick_gelu,
            self.multiply_floats,
            self.multiply,
            self.attend_dense,
        ):
            function.restype = None
        self._chunk_floats = self._library.thespis_chunk_floats
        self._chunk_floats.argtypes = (ctypes.c_int64,)
        self._chunk_floats.restype = ctypes.c_int64

    def chunk_floats(self, width: int) -> int:
        """Scratch memory of each thread for chunks, in floats."""
        return int(self._chunk_floats(width))


def _kernel(function: Any) -> Kernel:
    function.argtypes = (ctypes.POINTER(Attention),)
    function.restype = None
    found: Kernel = function
    return found


_allowed = True


@contextmanager
def allow_kernels(allowed: bool) -> Iterator[None]:
    """Whether what is loaded within takes any, Triton's among them: one setting of an engine,
    whatever its parts are."""
    global _allowed
    before, _allowed = _allowed, allowed
    try:
        yield
    finally:
        _allowed = before


def kernels_are_allowed() -> bool:
    return _allowed


def load_kernels() -> Kernels | None:
    """Of this machine's processor; None, after one line in the log, where there can be none, or
    where none are wanted."""
    return _load() if _allowed else None


@lru_cache(maxsize=1)
def _load() -> Kernels | None:
    try:
        level = best_level()
        kernels = Kernels(str(library_path(level)))
    except (Unavailable, OSError, AttributeError) as error:
        log.warning("torch's own operations are used in place of native kernels: %s", error)
        return None
    log.info("native kernels: %s", level.name)
    return kernels
