"""What Triton's compiler makes of the kernels, for two generations of GPUs and without either: no
register is spilled, shared memory is what the smallest of them have, and products go to tensor
cores."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.native.build import Unavailable
from thespis.gpu_runtime.triton.configurations import (
    SHARED_BYTES,
    decode_form,
    merge_form,
    prefill_form,
)
from thespis.gpu_runtime.triton.library import load_triton_kernels

triton = pytest.importorskip("triton")
if triton.knobs.runtime.interpret:
    pytest.skip("the interpreter compiles nothing", allow_module_level=True)
pytestmark = pytest.mark.timeout(120)

PLAIN = How(0.1)
EVERYTHING = How(0.1, window=4096, softcap=50.0, sinks=torch.zeros(1))
SHAPES = [
    (4, 2, 8),
    (4, 2, 32),
    (14, 2, 64),
    (28, 4, 128),
    (32, 32, 80),
    (16, 1, 256),
    (71, 1, 64),
    (48, 1, 128),
    (8, 1, 512),
]
"""Query heads, key heads, width."""
POINTERS = {"parts": "fp32", "tops": "fp32", "sinks": "fp32"} | dict.fromkeys(
    ("tables", "lengths", "chunks", "spans"), "i32"
)
NUMBERS = {"scale": "fp32"} | dict.fromkeys(
    ("query_stride", "table_stride", "block_size", "pieces"), "i32"
)
ALIGNED = ("out", "query", "pool", "sinks", "query_stride")
"""What is a multiple of 16 at every launch, and is specialised on."""


def compiled(
    name: str, form: dict[str, Any], capability: int, folder: Path, dtype: str = "bf16"
) -> dict[str, Any]:
    """Registers, bytes of stack and of shared memory, and the assembly."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from thespis.gpu_runtime.triton import kernels

    kernel = getattr(kernels, name)
    fixed = {key: value for key, value in form.items() if not key.startswith("num_")}
    options = {key: value for key, value in form.items() if key.startswith("num_")}
    names = kernel.arg_names
    signature = {
        each: NUMBERS.get(each, "*" + POINTERS.get(each, dtype)) for each in names
    } | dict.fromkeys(fixed, "constexpr")
    attrs = {(names.index(each),): [["tt.divisibility", 16]] for each in ALIGNED if each in names}
    constants = {(names.index(key),): value for key, value in fixed.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attrs)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    (folder / "kernel.cubin").write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    said = subprocess.run(
        [tool, "-res-usage", folder / "kernel.cubin"], capture_output=True, text=True, check=True
    ).stdout
    used = re.search(r"REG:(\d+) STACK:(\d+)", said)
    assert used is not None, said
    registers, stack = map(int, used.groups())
    return {
        "registers": registers,
        "stack": stack,
        "shared": made.metadata.shared,
        "ptx": made.asm["ptx"],
    }


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("how", [PLAIN, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_kernel_spills(
    shape: tuple[int, int, int], how: How, capability: int, tmp_path: Path, record_property: Any
) -> None:
    heads, _, width = shape
    forms = {
        "decode_kernel": decode_form(*shape, how),
        "merge_kernel": merge_form(heads, width, how),
        "prefill_kernel": prefill_form(*shape, how, None if how is PLAIN else "behind"),
    }
    for name, form in forms.items():
        made = compiled(name, form, capability, tmp_path)
        record_property(name, {key: value for key, value in made.items() if key != "ptx"})
        assert made["stack"] == 0, f"{name} spills"
        assert made["shared"] <= SHARED_BYTES, name
        assert name == "merge_kernel" or re.search(r"wgmma|mma\.sync", made["ptx"]), (
            f"{name} multiplies without tensor cores"
        )


def test_half_precision_compiles_alike(tmp_path: Path) -> None:
    for name, form in (
        ("decode_kernel", decode_form(28, 4, 128, PLAIN)),
        ("prefill_kernel", prefill_form(28, 4, 128, PLAIN, None)),
    ):
        assert compiled(name, form, 80, tmp_path, "fp16")["stack"] == 0


def test_what_is_compiled_lies_where_nobody_else_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton.knobs.cache, "dir", triton.knobs.cache.dir)  # put back afterwards
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load_triton_kernels()
    compiled("merge_kernel", merge_form(4, 16, PLAIN), 90, tmp_path)
    folder = tmp_path / "thespis" / "triton"
    assert list(folder.rglob("merge_kernel.cubin"))
    folder.chmod(0o770)
    with pytest.raises(Unavailable, match="is not a folder of this user alone"):
        load_triton_kernels()
