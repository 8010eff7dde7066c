"""Less is imported, and nothing is missing: in an interpreter of its own, for this one has imported
transformers already. It is a zygote's: an import of transformers before this package's would undo
all of it."""

import subprocess
import sys
from importlib.abc import Loader
from pathlib import Path
from types import ModuleType

import pytest

from thespis.gpu_runtime import quick_imports

SCRIPT = """
import sys
from pathlib import Path

from thespis.actors.director.config import Cast
from thespis.actors.director.zygote import load
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.config.engine import EngineConfig

load(Cast().imports(), str(demo_model()))
heavy = {
    "torch._inductor", "torch.distributed.tensor", "torch.distributed.fsdp", "scipy.linalg",
    "sympy.core", "torchvision",
    "sklearn",
}
assert not heavy & set(sys.modules), heavy & set(sys.modules)

import transformers
from transformers.utils import import_utils

folder = Path(transformers.__file__).parent / "models"
llama = folder / "llama" / "modeling_llama.py"
for path in (folder, str(folder), str(folder / "__init__.py"), str(llama)):
    source = Path(import_utils.__file__).read_text()
    own = {"__name__": "transformers.utils.unchanged", "__package__": "transformers.utils"}
    own["__file__"] = import_utils.__file__
    exec(compile(source, import_utils.__file__, "exec"), own)
    assert import_utils.define_import_structure(path) == own["define_import_structure"](path), path

import torch
with torch.device("meta"):
    assert torch.nn.Conv2d(3, 4, 2)(torch.ones(1, 3, 8, 8)).shape == (1, 4, 7, 7)
    assert torch.cat([torch.ones(2, 3), torch.ones(2, 3)]).matmul(torch.ones(3, 5)).shape == (4, 5)
    assert (torch.ones(3, 1) * torch.arange(4)).softmax(-1).repeat_interleave(2, 0).shape == (6, 4)
assert "sympy.core" not in sys.modules
from torch.fx.experimental.symbolic_shapes import guard_or_false, is_nested_int
from torch.fx.experimental.symbolic_shapes import sym_and, sym_eq, sym_or
asked = lambda: [
    guard_or_false(True), is_nested_int(3), sym_and(True, False), sym_or(False, True),
    sym_eq((1, [2]), [1, (2,)]), sym_eq(1, 2)
]
before = asked()
assert "sympy.core" not in sys.modules
from torch.fx.experimental.symbolic_shapes import ShapeEnv
assert "sympy.core" in sys.modules
assert asked() == before == [True, False, False, True, True, False]
rows = ({0: torch.export.Dim("rows")},)
exported = torch.export.export(torch.nn.Linear(3, 2), (torch.ones(4, 3),), dynamic_shapes=rows)
assert exported.module()(torch.ones(7, 3)).shape == (7, 2)
import scipy.optimize
sides = scipy.optimize.linear_sum_assignment([[4, 1], [2, 3]])
assert [list(map(int, side)) for side in sides] == [[0, 1], [1, 0]]
assert scipy.optimize.minimize_scalar(lambda x: (x - 2) ** 2).success

assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2
assert torch._dynamo.disable.__module__.startswith("torch._dynamo")
print("done")
"""


def test_transformers_is_imported_without_what_nobody_uses_and_that_is_there_when_wanted(
    tmp_path: Path,
) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.stdout == "done\n", ran.stderr[-2000:]


def test_the_algebra_is_asked_about_plain_numbers_while_it_is_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By another thread, or by what it imports itself."""
    name, heard = "algebra_of_a_test", list[bool]()

    class Reading(Loader):
        def exec_module(self, module: ModuleType) -> None:
            heard.append(module.__dict__["expect_true"](True))
            module.__dict__["expect_true"] = lambda asked: not asked

    monkeypatch.setattr(quick_imports, "_ALGEBRA", name)
    algebra = quick_imports._PutOff(name, Reading())
    monkeypatch.setitem(sys.modules, name, algebra)
    kept = algebra.__dict__["expect_true"] = quick_imports._of_numbers(
        "expect_true", lambda asked: asked
    )
    assert kept(True)
    algebra.run()
    assert heard == [True]
    assert not kept(True), "by now it has its own"
