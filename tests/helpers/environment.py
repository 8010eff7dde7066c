"""The surroundings of a test run, set when conftest imports this; processes that tests start
inherit them."""

import os
import tempfile
import time
from pathlib import Path

# One thread per process: two cores are shared by all, and sums of one thread are the same each
# time.
os.environ.update(
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tmp_path stays where it was

HERE = Path(tempfile.mkdtemp(prefix="tt-", dir="/tmp"))
"""Where this test run's engines live, so that they are told from others. Short: sockets' paths have
107 bytes."""
os.environ["TMPDIR"] = tempfile.tempdir = str(HERE)
os.environ["XDG_DATA_HOME"] = str(HERE / "data")

DEVICE = os.environ.get("THESPIS_TEST_DEVICE", "cpu")
"""Where the models of the runtime's and the equality tests run: `THESPIS_TEST_DEVICE=cuda
./scripts/test tests/gpu_runtime`."""

BEGAN = time.time()
"""Unix seconds."""
