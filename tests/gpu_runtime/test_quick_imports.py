"""Less is imported, and nothing is missing: in an interpreter of its own, for this one has imported transformers already. It is
a zygote's: an import of transformers before this package's would undo all of it."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path

from thespis.actors.director.config import DirectorConfig
from thespis.actors.director.preload import preload_for
from thespis.actors.director.zygote import load
from thespis.protocol.checkpoint import demo_model
from thespis.protocol.config import EngineConfig

load(preload_for(DirectorConfig(engine=EngineConfig())), str(demo_model()))
heavy = {
    "torch._inductor", "torch.distributed.tensor", "torch.distributed.fsdp", "scipy.linalg", "torchvision", "sklearn"
}
assert not heavy & set(sys.modules), heavy & set(sys.modules)

import transformers
from transformers.utils import import_utils

folder = Path(transformers.__file__).parent / "models"
for path in (folder, str(folder), str(folder / "__init__.py"), str(folder / "llama" / "modeling_llama.py")):
    source = Path(import_utils.__file__).read_text()
    own = {"__name__": "transformers.utils.unchanged", "__package__": "transformers.utils", "__file__": import_utils.__file__}
    exec(compile(source, import_utils.__file__, "exec"), own)
    assert import_utils.define_import_structure(path) == own["define_import_structure"](path), path

import scipy.optimize
assert [list(map(int, side)) for side in scipy.optimize.linear_sum_assignment([[4, 1], [2, 3]])] == [[0, 1], [1, 0]]
assert scipy.optimize.minimize_scalar(lambda x: (x - 2) ** 2).success

import torch
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2
assert torch._dynamo.disable.__module__.startswith("torch._dynamo")
print("done")
"""


def test_transformers_is_imported_without_what_nobody_uses_and_that_is_there_when_wanted(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-P", "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert ran.stdout == "done\n", ran.stderr[-2000:]
