"""Thinking at the sampler: its budget, and a guide that begins behind it."""

import json

import jsonschema
import pytest
import torch

from thespis.gpu_runtime.sampling.guiding import Guides
from thespis.gpu_runtime.sampling.sampler import SamplerState, sample
from thespis.gpu_runtime.sampling.unrunnable import Unrunnable
from thespis.gpu_runtime.sampling.verifying import Turn, speak
from thespis.protocol.requests.guide import Guide, guide_of
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.requests.thinking import Begins, Thinking, Thought

from .test_guiding import CPU, EOS, INFO, PERSON, guides, scores, text_of

assert guides, "a fixture"
OPEN, CLOSE = 60, 61
"""Tokens like others, which no text here needs."""


def started(
    guides: Guides,
    begins: Begins,
    budget: int | None,
    guide: Guide | None = None,
    output: tuple[int, ...] = (),
    **more: object,
) -> SamplerState:
    """As the runner does it."""
    thought = Thought(Thinking(OPEN, CLOSE, begins, budget), output)
    matcher = None if guide is None else guides.start(guide, thought.said, EOS)
    params = SamplingParams(seed=3, max_tokens=500, structured_outputs=guide, **more)  # type: ignore[arg-type]
    return SamplerState(params, 0, (1,), output, EOS, INFO.vocab, CPU, 0, matcher, thought)


def likely(step: int, *tokens: int) -> torch.Tensor:
    """Scores by which these tokens are likely."""
    made = scores(step)
    for token in tokens:
        made[0, token] = 30.0
    return made


def said(
    state: SamplerState, steps: int, start: int = 0, wanted: tuple[int, ...] = ()
) -> list[int]:
    tokens: list[int] = []
    for step in range(start, start + steps):
        choices = sample(likely(step, *wanted), [state])
        assert not choices.failed
        tokens += choices.tokens
        state.advance(tokens[-1])
        if tokens[-1] in EOS:
            break
    return tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("budget", [0, 1, 7])
def test_S73_a_budget_ends_thinking_at_its_token(
    guides: Guides, budget: int, temperature: float
) -> None:
    state = started(guides, "thinking", budget, temperature=temperature)
    tokens = said(state, 30, wanted=(100,))
    assert tokens[: budget + 1] == [100] * budget + [CLOSE]
    assert CLOSE not in tokens[budget + 1 :]


def test_S73_a_budget_counts_from_the_mark_that_opens(guides: Guides) -> None:
    state = started(guides, "perhaps", 4, temperature=0.0)
    assert said(state, 1, wanted=(OPEN,)) == [OPEN]
    assert said(state, 8, 1, (100,)) == [100] * 4 + [CLOSE] + [100] * 3
    never = started(guides, "perhaps", 4, temperature=0.0)
    assert said(never, 8, wanted=(100,)) == [100] * 8
    over = started(guides, "answer", 4, temperature=0.0)
    assert said(over, 8, wanted=(100,)) == [100] * 8


def test_S73_thinking_that_ends_by_itself_spends_no_more(guides: Guides) -> None:
    state = started(guides, "thinking", 4, temperature=0.0)
    assert said(state, 2, wanted=(100,)) == [100, 100]
    assert said(state, 1, 2, (CLOSE,)) == [CLOSE]
    assert said(state, 9, 3, (100,)) == [100] * 9


def test_S73_a_forced_end_wins_against_all_else(guides: Guides) -> None:
    state = started(
        guides, "thinking", 2, temperature=0.0, allowed_token_ids=(100,), min_tokens=5,
        logit_bias={CLOSE: -100.0}, repetition_penalty=1.5,
    )  # fmt: skip
    assert said(state, 6) == [100, 100, CLOSE, 100, 100, 100]


@pytest.mark.parametrize("begins", ["thinking", "perhaps"])
def test_S73_a_guide_binds_what_comes_behind_thinking(guides: Guides, begins: Begins) -> None:
    state = started(guides, begins, 9, guide_of(json=PERSON))
    tokens = said(state, 1, wanted=(OPEN,)) if begins == "perhaps" else []
    # An end token is likely all the while: as long as it thinks, none comes.
    tokens += said(state, 10, 1, (*EOS, 100))
    tokens += said(state, 400, 20)
    answer = tokens[tokens.index(CLOSE) + 1 : -1]
    assert tokens[-1] in EOS
    assert not set(EOS) & set(tokens[:-1])
    jsonschema.validate(json.loads(text_of(answer)), PERSON)


def test_S73_a_guide_binds_an_answer_that_does_not_think(guides: Guides) -> None:
    for begins in ("perhaps", "answer"):
        tokens = said(started(guides, begins, None, guide_of(json=PERSON)), 400, 1000)
        jsonschema.validate(json.loads(text_of(tokens[:-1])), PERSON)


@pytest.mark.parametrize("guided", [True, False])
def test_S73_a_replayed_request_goes_on_as_it_would_have(guides: Guides, guided: bool) -> None:
    guide = guide_of(json=PERSON) if guided else None
    state = started(guides, "perhaps", 5, guide)
    whole = said(state, 1, wanted=(OPEN,)) + said(state, 80, 1)
    assert whole.index(CLOSE) <= 6
    for cut in range(1, len(whole)):
        again = started(guides, "perhaps", 5, guide, tuple(whole[:cut]))
        assert sample(scores(cut), [again]).tokens == [whole[cut]], cut


def test_S73_a_draft_is_right_up_to_the_end_that_is_forced(guides: Guides) -> None:
    state = started(guides, "thinking", 2, temperature=0.0)
    turn = Turn(0, state, [0, 1, 2, 3, 4], (100, 100, 100, 100))
    speak(torch.cat([likely(step, 100) for step in range(5)]), [turn])
    assert [token for token, _ in turn.tokens] == [100, 100, CLOSE]


def test_rows_beside_one_that_thinks_are_as_they_were(guides: Guides) -> None:
    plain = SamplerState(SamplingParams(temperature=0.0), 0, (1,), (), EOS, INFO.vocab, CPU)
    table = torch.cat([likely(0, 100), likely(1, 101)])
    assert sample(table, [started(guides, "thinking", 0), plain]).tokens == [CLOSE, 101]


def test_marks_outside_the_vocabulary_are_refused() -> None:
    thought = Thought(Thinking(1, 1 << 20, "thinking", 1))
    with pytest.raises(Unrunnable):
        SamplerState(SamplingParams(), 0, (1,), (), EOS, INFO.vocab, CPU, 0, None, thought)
