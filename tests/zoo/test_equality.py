"""The published forms: what is read from each folder gives, through towers and runner,
transformers' own greedy tokens, and the scores of the first: tokens alone do not show what is a
little off."""

from pathlib import Path
from random import Random

import pytest
import torch

from thespis.gpu_runtime.facts.model import model_facts

from ..gpu_runtime.driving import Prompt
from .catalog import NAMES, Zoo, animal
from .composing import CLOSE, Asked, ask_all, run_all
from .reference import reference_for
from .shapes import compare, draw

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]
TOKENS = 10


@pytest.mark.parametrize("name", NAMES)
def test_greedy_tokens_are_those_of_transformers(name: str, zoo: Zoo) -> None:
    """A text, and a prompt of each modality, all in one batch and in pieces."""
    oracle = animal(name).twin or name
    asked = ask_all(zoo(name), reference_for(oracle, zoo(oracle)), TOKENS)
    for prompt, answer in asked:
        assert prompt.token_ids == answer.prompt_token_ids
        assert answer.safe >= 2, "draw another"
    for said, (_, answer) in zip(run_all(zoo(name), asked, TOKENS), asked, strict=True):
        assert said.token_ids[: answer.safe] == answer.token_ids[: answer.safe]
        assert said.apart(answer) < CLOSE


@pytest.mark.parametrize("name", ["gemma4_e", "granite_speech", "voxtral"])
def test_marks_of_items_that_are_not_there(name: str, zoo: Zoo) -> None:
    """An answer that says one, or a text: some families look up another token for it, others
    itself."""
    reference, facts = reference_for(name, zoo(name)), model_facts(zoo(name))
    [words] = reference.tokenizer(["What is it, and why?"], add_special_tokens=True)["input_ids"]
    ids = [
        *words,
        *(id for one in facts.placeholders.values() for id in (one.embed_token_id, *words[1:3])),
    ]
    answer = reference.continued(
        {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}, TOKENS
    )
    [said] = run_all(zoo(name), [Asked(Prompt(ids), answer)], TOKENS)
    assert said.token_ids[: answer.safe] == answer.token_ids[: answer.safe]
    assert said.apart(answer) < CLOSE


def test_fresh_shapes_give_transformers_tokens(tmp_path: Path) -> None:
    """A handful, the same each time; `scripts/dev fresh-shapes` draws hundreds of others."""
    seed = 1
    for place in range(4):
        name, drawn = draw(Random(f"{seed} {place}"))
        assert compare(drawn, tmp_path / str(place)) is None, (
            f"{name}: scripts/dev fresh-shapes --seed {seed} --count 4"
        )
