"""Whole checkpoints that the libraries of their forms made (`scripts/record_quantised.py`) are the
models that these unpack."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from thespis.protocol.requests.sampling import SamplingParams

from .driving import Driver, Prompt
from .tiny import facts_of, runner_for

RECORDED = Path(__file__).with_name("quantised_by_libraries")
FORMS = (
    "fp8-blocks",
    "fp8-whole",
    "compressed-fp8",
    "compressed-w4a16",
    "compressed-w4a16-zeros",
    "awq",
    "gptq",
)


def scores(folder: Path, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of all tokens but the first, computed in pieces."""
    driver = Driver(runner_for(facts_of(folder)))
    one = driver.start(Prompt(ids))
    found: list[float] = []
    for count in (7, 1, len(ids) - 8):
        result = driver.step([(one, count)], SamplingParams(prompt_logprobs=0))
        found += [entry.logprob for part in result.prompt_logprobs for entry in part.entries]
    return torch.tensor(found)


@pytest.mark.parametrize("name", FORMS)
def test_the_model_is_the_one_that_its_library_unpacks(name: str) -> None:
    answer = load_file(RECORDED / name / "answer.safetensors")
    wanted = answer["logits"].log_softmax(-1)[:-1].gather(-1, answer["ids"][1:, None])[:, 0]
    torch.testing.assert_close(
        scores(RECORDED / name, answer["ids"].tolist()), wanted, atol=2e-5, rtol=0
    )


def test_no_two_of_them_are_one_model() -> None:
    """So what is compared would tell one form from another, and a weight that is not unpacked from
    one that is."""
    logits = [load_file(RECORDED / name / "answer.safetensors")["logits"] for name in FORMS]
    for number, one in enumerate(logits):
        assert all(float((one - other).abs().max()) > 0.02 for other in logits[:number])
