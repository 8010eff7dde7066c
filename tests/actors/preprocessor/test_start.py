"""The shell starts light: it serves text before any decoder, torch or transformers is imported
anywhere."""

import subprocess
import sys


def test_the_shell_imports_no_decoder() -> None:
    heavy = ("torch", "transformers", "av", "PIL", "soxr", "librosa", "scipy")
    code = (
        f"import sys, thespis.actors.preprocessor.actor\nprint([name for name in {heavy!r} if "
        f"name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
