"""Records what AutoAWQ and AutoGPTQ make of small matrices, and what they read of that again, for
`tests/gpu_runtime/weights/test_packed_by_libraries.py`:

    PYTHONPATH=FOLDER_OF_ACCELERATE python scripts/record_packed.py FOLDER_OF_AUTOAWQ
    FOLDER_OF_AUTO_GPTQ

The last two are unpacked packages (autoawq 0.2.9, auto-gptq 0.7.1). Nothing of them runs but the
modules of one layer each: the rest wants older versions of transformers.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

OUT = Path(__file__).parents[1] / "tests" / "gpu_runtime" / "packed_by_libraries.safetensors"
INPUTS, OUTPUTS, GROUP = 64, 32, 32
BITS = (2, 4, 8)


def main() -> None:
    for name, folder in zip(("awq", "auto_gptq"), sys.argv[1:3], strict=True):
        lend(name, Path(folder) / name)
    torch.manual_seed(0)
    tensors = {f"awq.{part}": tensor for part, tensor in awq().items()}
    for bits in BITS:
        tensors |= {
            f"gptq{bits}.{part}": tensor for part, tensor in gptq(bits, ordered=bits == 4).items()
        }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, OUT)


def lend(name: str, folder: Path) -> None:
    """A package whose own first lines, which import everything, are not run."""
    for part in (
        folder,
        *(one.parent for one in folder.rglob("__init__.py") if one.parent != folder),
    ):
        module = ModuleType(".".join((name, *part.relative_to(folder).parts)))
        module.__path__ = [str(part)]
        sys.modules[module.__name__] = module


def layer() -> nn.Linear:
    return nn.Linear(INPUTS, OUTPUTS, bias=False).half()


def ranges(weight: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zeros [outputs, groups] of a weight, as both libraries find them; no zero is 0,
    which GPTQ's files cannot hold."""
    grouped = weight.float().reshape(OUTPUTS, -1, GROUP)
    least, largest = grouped.amin(-1).clamp(max=-1e-3), grouped.amax(-1).clamp(min=1e-3)
    scales = ((largest - least) / most).half()
    return scales, (-least / scales.float()).round().clamp(1, most)


def awq() -> dict[str, torch.Tensor]:
    library: Any = import_module("awq.modules.linear.gemm")
    plain = layer()
    scales, zeros = ranges(plain.weight.data, 15)
    made = library.WQLinear_GEMM.from_linear(
        plain, 4, GROUP, scales=scales.T.contiguous(), zeros=zeros.T.contiguous()
    )
    parts = {"qweight": made.qweight, "qzeros": made.qzeros, "scales": made.scales}
    return {**parts, "weight": library.dequantize_gemm(**parts, bits=4, group_size=GROUP).T}


def gptq(bits: int, ordered: bool) -> dict[str, torch.Tensor]:
    """`ordered`: inputs belong to groups in an order of their own, as with `desc_act`."""
    library: Any = import_module("auto_gptq.nn_modules.qlinear.qlinear_cuda")
    plain = layer()
    order = torch.randperm(INPUTS) if ordered else torch.arange(INPUTS)
    owners = torch.empty(INPUTS, dtype=torch.int32)
    owners[order] = torch.arange(INPUTS, dtype=torch.int32) // GROUP
    scales, zeros = ranges(plain.weight.data[:, order], 2**bits - 1)
    made = library.QuantLinear(bits, GROUP, INPUTS, OUTPUTS, bias=False)
    made.pack(plain, scales.float(), zeros, owners)
    parts = {
        "qweight": made.qweight,
        "qzeros": made.qzeros,
        "scales": made.scales.half(),
        "g_idx": owners,
    }
    return {**parts, "weight": made(torch.eye(INPUTS, dtype=torch.float16)).T}


if __name__ == "__main__":
    main()
