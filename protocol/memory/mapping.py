"""Files in memory, without the descriptor that Python's `mmap` keeps open for each.

A process maps every segment that it reads or writes, and a full cache has hundreds of them: at a
descriptor each, shared memory would end where a `ulimit -n` says, long before memory does.
"""

import ctypes
import mmap
import os
import weakref

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def map_file(fd: int, size: int, writable: bool = False) -> memoryview:
    """The first `size` bytes of the file, shared with everybody who maps it; `fd` may be closed
    afterwards.

    The map goes with its last view. The caller sees to it that the file is at least so long. Raises
    OSError.
    """
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, fd, 0)
    if address is None or address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    pages = (ctypes.c_ubyte * size).from_address(address)  # kept alive by every view of it
    weakref.finalize(pages, _libc.munmap, address, size).atexit = False
    view = memoryview(pages).cast("B")
    return view if writable else view.toreadonly()
