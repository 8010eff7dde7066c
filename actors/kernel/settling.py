"""What a process does once, between its start and its work."""

import ctypes
import gc


def settle() -> None:
    """What is there now lives as long as the process: no collection walks through it from now on.
    What the start has freed goes back to the system; glibc would keep it for later, hundreds of
    megabytes where a model was read and its weights packed."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other libraries of C have none
    if trim is not None:
        trim(0)
