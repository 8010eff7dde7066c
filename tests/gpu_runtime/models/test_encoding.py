import pytest
import torch

from thespis.gpu_runtime.models.encoding import Tensors, bytes_of, copy, encode
from thespis.protocol.errors import Failure
from thespis.protocol.memory.blobs import BlobRef


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def encode(self, kind: str, items: list[Tensors], rows: list[int]) -> list[torch.Tensor]:
        self.calls += 1
        raise self.error


def run(encoder: Raising, count: int) -> list[torch.Tensor | Failure]:
    return encode(encoder, "image", [{}] * count, [(1, 1)] * count, torch.float32, False)


def test_a_batch_that_raises_is_tried_item_by_item() -> None:
    encoder = Raising(MemoryError())
    assert all(isinstance(result, Failure) for result in run(encoder, 3))
    assert encoder.calls == 4


def test_a_broken_device_ends_the_process() -> None:
    with pytest.raises(torch.AcceleratorError):
        run(Raising(torch.AcceleratorError("device-side assert")), 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int64", "uint8", "bool"])
def test_a_copy_has_the_bytes_shape_and_type(dtype: str) -> None:
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, dtype))
    data = bytes(bytes_of(tensor))
    [same] = copy({"x": (BlobRef("", 0, dtype, (2, 3)), memoryview(data))}).values()
    assert same.dtype == tensor.dtype
    assert torch.equal(same, tensor)


def test_an_empty_tensor_is_copied() -> None:
    assert copy({"x": (BlobRef("", 0, "float32", (0, 3)), memoryview(b""))})["x"].shape == (0, 3)
