"""What ends the fetcher, the preprocessor, the scheduler or the detokenizer each time: refused
after proof, by whoever sends it there; its neighbours get their answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.client.client import Client
from thespis.frontends.engine import start_engine
from thespis.frontends.python.outputs import RequestOutput
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import TextPrompt

from ..fakes.fake_runner import expected
from ..fakes.poisoned_actors import PAGE, POISON, TEXT
from ..helpers.engines import cast_of, fake_engine
from ..spec.web import Site

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]
LONG = SamplingParams(max_tokens=60, temperature=0, ignore_eos=True)
BUDGET = 5
"""Restarts of one role within a minute; one death more without an explanation is the end of the
engine."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def run_dir() -> Iterator[Path]:
    """Everything is real here but the model, and what is poisoned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_STEP_SECONDS", "0.01")
        modules = dict.fromkeys(
            ("fetcher", "preprocessor", "scheduler", "detokenizer"), "poisoned_actors"
        )
        modules |= {"gpu-runner": "fake_runner", "encoder-cache": "fake_encoder_cache"}
        config = EngineConfig(allow_private_media=True)
        engine = start_engine(config, cast=cast_of(modules, forked=("decode-worker",)))
    yield engine.run_dir
    engine.terminate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llm(run_dir: Path) -> AsyncIterator[AsyncLLM]:
    """The only client: nobody else's requests are in the engine."""
    async with AsyncLLM(run_dir=run_dir) as llm:
        yield llm


def look_at(site: Site, page: str) -> Any:
    """A conversation about a picture of the site."""
    picture = {"type": "image_url", "image_url": {"url": site.url(f"/{page}", "127.0.0.1")}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": "what?"}]}]


def poisons(role: str, site: Site) -> tuple[tuple[Any, SamplingParams], ...]:
    """Two requests that are not the same work; each ends `role` whenever it gets there."""
    if role == "fetcher":
        return (look_at(site, PAGE), LONG), (look_at(site, f"more-{PAGE}"), LONG)
    prompt = {"prompt_token_ids": list(POISON[role])}
    return (prompt, LONG), (prompt, LONG.replace(max_tokens=61))


async def refused(llm: AsyncLLM, prompt: Any, params: SamplingParams) -> None:
    with pytest.raises(RequestError, match="not tried again") as refusal:
        await llm.generate(prompt, params)
    assert (refusal.value.failure.code, refusal.value.status) == ("poison", 422)


@pytest.mark.parametrize("role", ["fetcher", "preprocessor", "scheduler", "detokenizer"])
async def test_two_poisons_at_once_are_refused_and_their_neighbours_go_on(
    llm: AsyncLLM, site: Site, role: str
) -> None:
    """They cost more deaths than the budget: that of each is given back with its proof."""
    first, second = poisons(role, site)
    prompts: list[Any] = [{"prompt_token_ids": [70 + n, 71, 72]} for n in range(4)]
    prompts += [look_at(site, f"picture-{n}.png") for n in range(2)]
    before = (await llm.status()).restarts
    neighbours = [asyncio.create_task(llm.generate(prompt, LONG)) for prompt in prompts]
    await asyncio.gather(refused(llm, *first), refused(llm, *second))
    answers: list[RequestOutput] = await asyncio.gather(*neighbours)
    for answer in answers:
        assert answer.outputs[0].token_ids == expected(answer.prompt_token_ids, LONG, ())
    after = (await llm.status()).restarts
    assert {
        name: count - before[name] for name, count in after.items() if count != before[name]
    }.keys() == {role}
    assert after[role] - before[role] > BUDGET
    await refused(llm, *first)
    await refused(llm, *second)
    again = await llm.generate({"prompt_token_ids": [70, 71, 73]}, LONG)
    assert again.outputs[0].token_ids == expected([70, 71, 73], LONG, ())
    status = await llm.status()
    assert status.restarts == after
    assert status.stats["scheduler"]["suspects"] == 0


async def test_a_text_that_cannot_be_tokenised_is_refused_when_its_caller_repeats_it() -> None:
    engine = await asyncio.to_thread(fake_engine, {"preprocessor": "poisoned_actors"})
    refusals = []
    async with await Client.connect(engine.run_dir) as client:
        for _ in range(5):
            while not client.ready:
                await asyncio.sleep(0.01)
            with pytest.raises(RequestError) as refusal:
                await client.tokenize(TextPrompt(TEXT))
            refusals.append(refusal.value.failure.code)
    engine.terminate()
    assert refusals == ["restarted"] * 3 + ["poison"] * 2, (
        "whether others were there before it, it does not know at first"
    )
