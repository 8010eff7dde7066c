"""What surrounds a process that a fork server makes: which variables may differ from the server's,
and what an exec would have changed that is no part of its memory."""

import ctypes
import os
from collections.abc import Mapping

from thespis.actors.director import zygote

READ_LATER = (
    *("THESPIS_", "VLLM_", "OTEL_", "XDG_DATA_HOME", "FAKE_", "FAULTY", "PYTEST_", "PYTHONPATH"),
    # Which torch, LiteLLM and scikit-learn (of librosa) set when a test first uses them:
    *("TORCHINDUCTOR_", "LITELLM_", "TIKTOKEN_CACHE_DIR", "KMP_INIT_AT_FORK"),
)
"""How variables begin which nothing that a fork server imports has read."""
MALLOC = {-3: "MALLOC_MMAP_THRESHOLD_", -1: "MALLOC_TRIM_THRESHOLD_"}
"""By mallopt's number."""


def without_what_varies(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(READ_LATER)}


def as_exec_would() -> None:
    """What is no part of this process's memory, of a process that is exec'ed for a zygote."""
    os.setsid()  # signals of the terminal are not for its children
    libc = ctypes.CDLL(None)
    for option, variable in MALLOC.items():
        libc.mallopt(option, int(zygote.ENVIRONMENT[variable]))
