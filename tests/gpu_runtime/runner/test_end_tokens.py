"""A checkpoint whose end token lies beyond its vocabulary answers, as it does under
transformers."""

import json
import shutil
from pathlib import Path

import pytest

from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.checkpoints import Checkpoints
from ...helpers.facts import facts_of
from ...helpers.reference import reference_for
from ..driving import Driver, Prompt, runner_config


@pytest.mark.parametrize(
    "asked",
    [
        SamplingParams(temperature=0, ignore_eos=True),
        SamplingParams(temperature=0, min_tokens=6),
        SamplingParams(temperature=0, min_tokens=3, stop_token_ids=(5,)),
        SamplingParams(temperature=0),
    ],
)
def test_answers_are_those_of_transformers(
    asked: SamplingParams, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoints("llava"), tmp_path / "model"))
    beyond = facts_of(folder).vocab + 3
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [beyond]}))
    answer = reference_for(checkpoints("llava")).answer("hello", max_tokens=6, ignore_eos=True)
    assert answer.safe
    driver = Driver(Runner(runner_config(folder)))
    said = driver.finish(
        driver.start(Prompt(answer.prompt_token_ids)),
        6,
        sampling=asked,
        eos=facts_of(folder).eos_token_ids,
    )
    assert said == answer.token_ids
