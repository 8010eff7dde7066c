"""The tiny checkpoints are real: transformers loads them, and they say the same bytes each time."""

from pathlib import Path

import pytest

from .checkpoints import FAMILIES, Checkpoints, Family, make_checkpoint
from .facts import facts_of


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.timeout(60)
def test_the_same_seed_gives_the_same_bytes(
    family: Family, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    first, second = checkpoints(family), make_checkpoint(family, tmp_path)
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {
        p.name: p.read_bytes() for p in second.iterdir()
    }


@pytest.mark.parametrize(
    ("family", "model_type"),
    [("qwen_omni", "qwen2_5_omni_thinker"), ("qwen_vl", "qwen2_vl"), ("llava", "llava")],
)
@pytest.mark.timeout(60)
def test_the_engine_reads_its_numbers(
    family: Family, model_type: str, checkpoints: Checkpoints
) -> None:
    info = facts_of(checkpoints(family))
    assert (
        info.model_type,
        info.layers,
        info.kv_groups[0].kv_heads,
        info.kv_groups[0].key_dim,
        info.hidden,
    ) == (
        model_type,
        3,
        2,
        16,
        64,
    )
    assert info.dtype == "float32"
    assert len(info.eos_token_ids) == 1
