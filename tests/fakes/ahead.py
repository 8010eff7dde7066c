"""What a zygote imports: it remembers in which process it was first loaded."""

import os

LOADED_IN = os.getpid()
