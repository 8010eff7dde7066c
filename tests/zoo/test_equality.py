"""The published forms: what is read from each folder gives, through towers and runner, transformers' own greedy tokens, and
the scores of the first: tokens alone do not show what is a little off."""

from pathlib import Path
from random import Random

import pytest

from thespis.gpu_runtime.facts import model_facts
from thespis.protocol.errors import EngineError

from .catalog import NAMES, Zoo, animal
from .composing import CLOSE, ask_all, run_all
from .reference import reference_for
from .shapes import compare, draw

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
TOKENS = 10
REFUSED = ("ovis2",)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
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


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_come_out_otherwise_is_refused_by_name(name: str, zoo: Zoo) -> None:
    with pytest.raises(EngineError, match=f"Models of type '{name}' .* not built"):
        model_facts(zoo(name))


def test_fresh_shapes_give_transformers_tokens(tmp_path: Path) -> None:
    """A handful; `scripts/fresh_shapes` draws hundreds."""
    seed = Random().randrange(10_000)
    for place in range(4):
        name, drawn = draw(Random(f"{seed} {place}"))
        assert compare(drawn, tmp_path / str(place)) is None, f"{name}: scripts/fresh_shapes --seed {seed} --count 4"
