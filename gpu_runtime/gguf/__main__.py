"""`python -m thespis.gpu_runtime.gguf FILE FOLDER [BESIDE]`: one sentence on stdout and exit code 2
for what is refused."""

import logging
import sys
from pathlib import Path
from typing import Any

from transformers.utils import logging as library_logging

from ...protocol.errors import EngineError
from .prepare import prepare

library_logging.set_verbosity(logging.ERROR)
library: Any = library_logging  # untyped
library.disable_progress_bar()
try:
    prepare(*map(Path, sys.argv[1:]))
except EngineError as error:
    print(error)
    sys.exit(2)
