"""Attention of towers in pieces: what SDPA gives of the whole, and somebody is asked before
each."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from thespis.gpu_runtime.adapter import tower_attention
from thespis.gpu_runtime.adapter.tower_attention import NAME, NATIVE_ROWS, ROWS, attend_in_pieces
from thespis.gpu_runtime.attention.dense import Dense

from ...helpers.kernels import asks_the_compiler, kernels, needs_kernels


class Tower(nn.Module):
    """One attention, and what a model of transformers hangs on it."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.config: Any = PreTrainedConfig()
        self.config._attn_implementation = "sdpa"
        self.is_causal = False
        self.num_key_value_groups = groups


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def attended(
    tower: Tower,
    given: Sequence[torch.Tensor],
    mask: torch.Tensor | None = None,
    dense: Dense | None = None,
    **more: Any,
) -> tuple[torch.Tensor, int]:
    asked: list[int] = []
    attend_in_pieces(tower, lambda: asked.append(1), dense)
    assert tower.config._attn_implementation == NAME
    query, key, value = given
    made, _ = tower_attention._attention(tower, query, key, value, mask, **more)
    return made, len(asked)


@pytest.mark.parametrize(
    ("items", "heads", "kv_heads", "count", "seen"), [(1, 4, 4, 200, 200), (3, 4, 2, 130, 333)]
)
def test_pieces_are_the_whole(
    items: int, heads: int, kv_heads: int, count: int, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, key, value = (
        drawn(items, heads, count, 24),
        drawn(items, kv_heads, seen, 24),
        drawn(items, kv_heads, seen, 24),
    )
    whole = F.scaled_dot_product_attention(query, key, value, scale=0.3, enable_gqa=True).transpose(
        1, 2
    )
    made, asked = attended(Tower(heads // kv_heads), (query, key, value), scaling=0.3)
    assert asked == 0, "it is over soon enough"
    torch.testing.assert_close(made, whole, atol=1e-5, rtol=1e-5)
    monkeypatch.setattr(tower_attention, "PIECE", 1)
    made, asked = attended(Tower(heads // kv_heads), (query, key, value), scaling=0.3)
    assert asked == -(-count // ROWS)
    torch.testing.assert_close(made, whole, atol=1e-5, rtol=1e-5)


@needs_kernels
@asks_the_compiler
def test_the_native_kernel_takes_what_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower_attention, "PIECE", 1)
    dense = Dense(kernels())
    query, key, value = drawn(2, 4, NATIVE_ROWS + 9, 24), drawn(2, 2, 70, 24), drawn(2, 2, 70, 24)
    made, asked = attended(Tower(2), (query, key, value), dense=dense)
    assert asked == 2
    whole = F.scaled_dot_product_attention(query, key, value, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(made, whole, atol=1e-5, rtol=1e-5)
    half = [one.bfloat16() for one in (query, key, value)]
    assert not dense.takes(half[0], half[1], half[2])
    made, asked = attended(Tower(2), half, dense=dense)
    assert asked == -(-query.shape[2] // ROWS), "torch's"


def test_a_part_that_has_its_own_attention_keeps_it() -> None:
    """Gemma 4's sounds have one that looks at stretches."""

    class Whole(PreTrainedConfig):
        sub_configs: ClassVar[dict[str, Any]] = {"audio_config": PreTrainedConfig}
        audio_config: PreTrainedConfig | None = None

    tower = Tower(1)
    tower.config = Whole(audio_config=PreTrainedConfig())
    tower.config._attn_implementation = "sdpa"
    tower.config.audio_config._attn_implementation = "eager"
    attend_in_pieces(tower, lambda: None)
    assert (tower.config._attn_implementation, tower.config.audio_config._attn_implementation) == (
        NAME,
        "eager",
    )


def test_what_is_masked_causal_or_biased_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower_attention, "PIECE", 1)
    given = [drawn(1, 2, 150, 16) + n for n in range(3)]
    mask = torch.zeros(1, 1, 150, 150).masked_fill(torch.rand(150, 150) < 0.5, -torch.inf)
    query, key, value = given
    for seen, causal in ((mask, False), (None, True)):
        made, asked = attended(Tower(1), given, seen, is_causal=causal)
        assert asked == 0
        wanted = F.scaled_dot_product_attention(query, key, value, seen, is_causal=causal)
        torch.testing.assert_close(made, wanted.transpose(1, 2), atol=1e-5, rtol=1e-5)
    made, asked = attended(Tower(1), given, position_bias=mask)
    assert asked == 0
    torch.testing.assert_close(
        made,
        F.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2),
        atol=1e-5,
        rtol=1e-5,
    )
