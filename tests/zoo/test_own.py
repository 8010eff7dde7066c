"""Types that transformers does not have."""

import re
from pathlib import Path

import pytest

from thespis.frontends.client.tokenizing import tokenizer_of
from thespis.gpu_runtime.facts.model import model_facts

from .catalog import NAMES, Zoo, animal, build


@pytest.mark.parametrize("name", [name for name in NAMES if animal(name).own])
def test_a_caller_gets_the_tokenizer(name: str, zoo: Zoo) -> None:
    tokenizer = tokenizer_of(str(zoo(name)))
    ids = tokenizer.encode("What is it?", add_special_tokens=False)
    assert tokenizer.decode(ids).strip() == "What is it?"
    assert (
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "What is it?"}], tokenize=False
        ).count("What is it?")
        == 1
    )


@pytest.mark.parametrize("name", [name for name in NAMES if animal(name).own])
def test_code_of_the_checkpoint_is_neither_run_nor_asked_about(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that is named by any of the folder's."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    folder = build(name, tmp_path)
    said = " ".join(file.read_text() for file in folder.glob("*config.json"))
    named = set(re.findall(r"(\w+_\w+)\.[A-Z]\w+", said))
    assert named
    for module in named:
        (folder / f"{module}.py").write_text("raise SystemExit('it ran')")
    assert model_facts(folder).placeholders
    tokenizer_of(str(folder))
