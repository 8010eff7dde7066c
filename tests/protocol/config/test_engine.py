from typing import Any

import pytest

from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.config.engine import EngineConfig, configure


def test_the_default_model_is_the_bundled_one() -> None:
    assert EngineConfig().model == str(demo_model())
    assert EngineConfig().name == "demo_model"
    assert EngineConfig(model="/a/b").name == "b"
    assert EngineConfig(model="/a/b", served_model_name="c").name == "c"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_num_seqs": 0}, "max_num_seqs must be at least 1"),
        ({"max_num_seqs": "many"}, "max_num_seqs"),
        ({"block_size": -1}, "block_size"),
        ({"max_model_len": 0}, "max_model_len"),
        ({"dtype": "int8"}, "dtype must be one of auto, float32, bfloat16, float16, got 'int8'."),
        ({"quantization": "awq"}, "quantization must be one of int8, got 'awq'."),
        ({"quantization": "fp8"}, "says so itself: leave this out for it."),
        ({"deterministic": "yes"}, "deterministic: Expected `bool`, got `str`."),
        ({"speculative_config": "ngram"}, "speculative_config: Expected `dict`, got `str`."),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda"),
        ({"mm_hasher_algorithm": "md5"}, "mm_hasher_algorithm must be one of"),
        ({"limit_mm_per_prompt": {"smell": 1}}, "smell"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        configure(EngineConfig, settings)
