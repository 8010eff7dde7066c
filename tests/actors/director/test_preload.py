from pathlib import Path

import msgspec
import pytest

from thespis.actors.director.config import MODULES, DirectorConfig
from thespis.actors.director.preload import preload_for
from thespis.protocol.checkpoint import demo_model, inspect
from thespis.protocol.config import EngineConfig
from thespis.protocol.errors import EngineError

MODEL = inspect(demo_model())


def test_the_zygote_imports_the_models_family_and_what_it_forks() -> None:
    modules = preload_for(DirectorConfig(engine=EngineConfig()), MODEL)
    assert modules[0] == "torch"
    assert "transformers.models.qwen2_5_omni.modeling_qwen2_5_omni" in modules
    assert "thespis.actors.preprocessor.families.qwen_omni" in modules
    assert MODULES["gpu-runner"] in modules


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(EngineError, match="'nothing' are not supported"):
        preload_for(DirectorConfig(engine=EngineConfig()), msgspec.structs.replace(MODEL, model_type="nothing"))


def test_an_engine_of_fakes_needs_no_zygote() -> None:
    fakes = DirectorConfig(engine=EngineConfig(), modules=dict.fromkeys(("decode-worker", "encoder-cache", "gpu-runner"), "x"))
    assert preload_for(fakes, MODEL) == []
    assert not fakes.is_forked("decode-worker-0")
    assert DirectorConfig(engine=EngineConfig(), modules={"gpu-runner": "x"}).is_forked("decode-worker-0")


def test_every_module_of_the_table_is_there() -> None:
    root = demo_model().parent
    for module in MODULES.values():
        path = Path(*module.split(".")[1:]).with_suffix(".py")
        assert "def main(launch: Launch) -> None:" in (root / path).read_text(), module
