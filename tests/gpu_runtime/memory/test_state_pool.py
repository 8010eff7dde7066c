"""States by slot: shapes and types as the layers keep them; copied and cleared in all layers at
once."""

import torch

from thespis.gpu_runtime.memory.state_pool import StatePool
from thespis.protocol.facts import RecurrentGroup

GROUPS = (
    RecurrentGroup(layers=(0, 2), conv=(6, 4), state=(2, 3, 5)),
    RecurrentGroup(layers=(1,), conv=(6, 3)),
)


def test_each_layer_has_what_it_keeps() -> None:
    pool = StatePool(GROUPS, 5, torch.bfloat16, torch.device("cpu"))
    assert {layer: (tuple(conv.shape), conv.dtype) for layer, conv in pool.conv.items()} == {
        0: ((5, 6, 4), torch.bfloat16),
        1: ((5, 6, 3), torch.bfloat16),
        2: ((5, 6, 4), torch.bfloat16),
    }
    assert {layer: (tuple(state.shape), state.dtype) for layer, state in pool.state.items()} == {
        0: ((5, 2, 3, 5), torch.float32),
        2: ((5, 2, 3, 5), torch.float32),
    }
    assert pool.nbytes == 5 * sum(group.sequence_bytes(2) for group in GROUPS)


def test_a_copy_takes_all_layers_and_a_clear_leaves_none() -> None:
    pool = StatePool(GROUPS, 4, torch.float32, torch.device("cpu"))
    whole = [*pool.conv.values(), *pool.state.values()]
    for each in whole:
        each[1] = torch.randn(each.shape[1:])
    pool.copy(1, 3)
    assert all(torch.equal(each[3], each[1]) for each in whole)
    pool.clear([1, 2])
    assert not any(each[1].any() or each[2].any() or each[0].any() for each in whole)
    assert all(each[3].any() for each in whole)
