"""How torch is told to compute."""

import subprocess
import sys


def test_an_ordinary_process_never_imports_torchs_compiler() -> None:
    code = """
import sys
from thespis.gpu_runtime.models.device import prepare_device
prepare_device("cpu", 1)
assert "torch._inductor" not in sys.modules
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
