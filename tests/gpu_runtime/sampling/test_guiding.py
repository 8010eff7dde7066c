"""Guides and bad words at the sampler: whatever the scores are, the text is what was asked for."""

import json
import re
import sys
from collections.abc import Sequence

import jsonschema
import pytest
import torch

from thespis.gpu_runtime.sampling.guiding import Guides, Matcher
from thespis.gpu_runtime.sampling.sampler import SamplerState, sample
from thespis.protocol.requests.guide import Guide, guide_of
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.facts import DEMO

INFO = DEMO
EOS = INFO.eos_token_ids
CPU = torch.device("cpu")
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def guides() -> Guides:
    return Guides(INFO)


def text_of(tokens: Sequence[int]) -> str:
    from tokenizers import Tokenizer

    decoded: str = Tokenizer.from_file(f"{INFO.path}/tokenizer.json").decode(
        list(tokens), skip_special_tokens=True
    )
    return decoded


def start(
    guides: Guides, guide: Guide | None, output: Sequence[int] = (), **params: object
) -> SamplerState:
    sampling = SamplingParams(**{"seed": 1, "structured_outputs": guide, **params})  # type: ignore[arg-type]
    matcher = None if guide is None else guides.start(guide, output, EOS)
    return SamplerState(sampling, 0, (1,), output, EOS, INFO.vocab, CPU, 0, matcher)


def scores(seed: int, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, INFO.vocab, generator=torch.Generator().manual_seed(seed)) * 3


def run(state: SamplerState, seed: int, limit: int = 500) -> list[int]:
    """Tokens up to the end token, from random scores."""
    tokens: list[int] = []
    for step in range(limit):
        choices = sample(scores(1000 * seed + step), [state])
        assert not choices.failed
        state.advance(choices.tokens[0])
        tokens.append(choices.tokens[0])
        if tokens[-1] in EOS:
            return tokens[:-1]
    raise AssertionError(f"no end: {text_of(tokens)!r}")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_random_scores_give_json_that_fits_the_schema(
    guides: Guides, seed: int, temperature: float
) -> None:
    text = text_of(run(start(guides, guide_of(json=PERSON), temperature=temperature), seed))
    jsonschema.validate(json.loads(text), PERSON)


@pytest.mark.parametrize("pattern", ["(red|blue) [0-9]{3}", r"\d+/\d+", "a\nb", r"[a-c]{2,4}\.\/"])
def test_random_scores_match_the_pattern_as_a_whole(guides: Guides, pattern: str) -> None:
    assert re.fullmatch(pattern, text_of(run(start(guides, guide_of(regex=pattern)), 1)))


def test_random_scores_give_one_of_the_choices(guides: Guides) -> None:
    choices = ["yes", "no", 'say "\\n"\n/', "maybe not"]
    found = {text_of(run(start(guides, guide_of(choice=choices)), seed)) for seed in range(12)}
    assert found <= set(choices)
    assert len(found) > 1


def test_a_matcher_rebuilt_from_the_output_goes_on_as_the_one_that_made_it(guides: Guides) -> None:
    guide = guide_of(json=PERSON)
    whole = run(start(guides, guide), 7)
    for cut in range(len(whole)):
        state = start(guides, guide, whole[:cut])
        assert sample(scores(7000 + cut), [state]).tokens[0] == whole[cut]


def test_after_the_end_only_end_tokens_come_also_below_min_tokens(guides: Guides) -> None:
    state = start(guides, guide_of(choice=["red"]), min_tokens=50, max_tokens=60)
    tokens = [0]
    while tokens[-1] not in EOS:
        tokens.append(sample(scores(len(tokens)), [state]).tokens[0])
        state.advance(tokens[-1])
    assert text_of(tokens[1:-1]) == "red"
    for step in range(3):
        token = sample(scores(100 + step), [state]).tokens[0]
        assert token in EOS
        state.advance(token)


def test_rows_without_a_guide_are_as_they_were_among_guided_ones(guides: Guides) -> None:
    mixed = [
        start(guides, None),
        start(guides, guide_of(json=PERSON)),
        start(guides, None, temperature=0.0),
    ]
    logits = scores(3, 3)
    tokens = sample(logits, mixed).tokens
    alone = [sample(logits[row : row + 1], [mixed[row]]).tokens[0] for row in (0, 2)]
    assert [tokens[0], tokens[2]] == alone


def test_a_token_that_does_not_fit_leaves_no_token_and_no_exception(guides: Guides) -> None:
    state = start(guides, guide_of(choice=["red"]))
    state.advance(5 if 5 not in EOS else 6)
    for step in range(2):
        if sample(scores(step), [state]).failed == [0]:
            return
        state.advance(0)
    raise AssertionError("it still had a token")


def test_a_guide_that_cannot_be_built_is_a_value_error(guides: Guides) -> None:
    with pytest.raises(ValueError, match="grammar"):
        guides.start(Guide("regex", "(a"), (), EOS)


def test_built_guides_are_kept_apart_from_their_sequences(guides: Guides) -> None:
    guide = guide_of(choice=["red", "blue"])
    first: Matcher = guides.start(guide, (), EOS)
    before = guides.start(guide, (), EOS).allowed().tolist()
    first.advance(sample(scores(1), [start(guides, guide)]).tokens[0])
    assert guides.start(guide, (), EOS).allowed().tolist() == before


def test_bad_words_never_come_as_their_token_sequences(guides: Guides) -> None:
    bad = ((10,), (11, 12), (13, 14, 15))
    favourite = torch.full((1, INFO.vocab), -50.0)
    favourite[0, 10:16] = torch.tensor([9.0, 8.0, 8.5, 7.0, 7.5, 7.6])
    for seed in range(20):
        state = start(guides, None, bad_words_ids=bad, bad_words=("x",), seed=seed)
        tokens: list[int] = []
        for _ in range(60):
            tokens.append(sample(favourite, [state]).tokens[0])
            state.advance(tokens[-1])
        joined = "," + ",".join(map(str, tokens)) + ","
        for spelling in bad:
            assert "," + ",".join(map(str, spelling)) + "," not in joined


def test_bad_words_look_back_over_a_resume(guides: Guides) -> None:
    favourite = torch.full((1, INFO.vocab), -50.0)
    favourite[0, 15], favourite[0, 20] = 5.0, 1.0
    fresh = start(guides, None, temperature=0.0, bad_words_ids=((13, 14, 15),))
    resumed = start(guides, None, (9, 13, 14), temperature=0.0, bad_words_ids=((13, 14, 15),))
    assert sample(favourite, [fresh]).tokens == [15]
    assert sample(favourite, [resumed]).tokens == [20]


def test_the_grammar_engine_is_loaded_by_the_first_guide_only() -> None:
    import subprocess

    code = (
        "import sys, thespis.gpu_runtime.sampling.guiding as g; from thespis.tests.helpers.facts "
        "import DEMO;"
        "g.Guides(DEMO); print('llguidance' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True
        ).stdout.strip()
        == "False"
    )
