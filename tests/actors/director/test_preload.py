from pathlib import Path

from thespis.actors.director.config import MODULES, RUNTIME, Cast
from thespis.frontends.engine import HTTP_MODULE
from thespis.protocol.checkpoint.folder import demo_model

from ...helpers.facts import DEMO


def test_the_zygote_imports_what_it_forks() -> None:
    modules = Cast().imports()
    assert modules == [
        "torch",
        RUNTIME,
        *(MODULES[kind] for kind in ("facts", "decode-worker", "encoder-cache", "gpu-runner")),
    ]


def test_an_engine_of_fakes_needs_no_zygote() -> None:
    replaced = dict.fromkeys(("decode-worker", "encoder-cache", "gpu-runner"), "x")
    fakes = Cast(modules=replaced, facts=DEMO)
    assert fakes.imports() == []
    assert not fakes.is_forked("decode-worker-0")
    assert Cast(modules={"gpu-runner": "x"}).is_forked("decode-worker-0")
    assert Cast(modules=replaced).imports() == [
        "torch",
        RUNTIME,
        MODULES["facts"],
    ]


def test_every_module_of_the_table_is_there() -> None:
    root = demo_model().parent
    for module in (*MODULES.values(), HTTP_MODULE):
        path = Path(*module.split(".")[1:]).with_suffix(".py")
        assert "def main(launch: Launch) -> None:" in (root / path).read_text(), module
