"""B17: a prompt as embeddings is the prompt itself, over every face, and what is wrong with some is
the caller's fault."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from thespis import LLM, EmbedsPrompt, RequestOutput, SamplingParams, TokensPrompt, encode_embeds
from thespis.protocol.errors import RequestError

from ..helpers.checkpoints import Checkpoints
from ..helpers.engines import Spectator
from ..helpers.serving import Server
from .faces import AsyncFace

pytestmark = pytest.mark.process
GREEDY = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
TEXT = "<|im_start|>user\nWhat is that?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def table(checkpoints: Checkpoints) -> torch.Tensor:
    """[vocabulary, hidden]: what the model looks up."""
    (file,) = checkpoints("qwen_omni").glob("*.safetensors")
    (table,) = (
        value for name, value in load_file(file).items() if name.endswith("embed_tokens.weight")
    )
    return table.float()


@pytest.fixture(scope="module")
def ids(llm: LLM) -> list[int]:
    (output,) = llm.generate(TEXT, GREEDY, use_tqdm=False)
    return output.prompt_token_ids


def said(llm: LLM, prompt: Any, params: SamplingParams = GREEDY) -> RequestOutput:
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    return output


def saved(tensor: Any) -> str:
    file = io.BytesIO()
    torch.save(tensor, file)
    return base64.b64encode(file.getvalue()).decode()


def test_rows_say_what_their_tokens_say(
    llm: LLM, async_face: AsyncFace, table: torch.Tensor, ids: list[int]
) -> None:
    """As a tensor, an array, with an axis of one, in a file; greedy, and several choices of one
    seed."""
    rows = table[ids]
    by_ids = said(llm, TokensPrompt(prompt_token_ids=ids))
    for given in (rows, rows[None], rows.numpy(), rows.double().numpy(), encode_embeds(rows)):
        output = said(llm, EmbedsPrompt(prompt_embeds=given, prompt=TEXT))
        assert output.outputs[0].token_ids == by_ids.outputs[0].token_ids
        assert output.outputs[0].text == by_ids.outputs[0].text
        assert (output.prompt, output.prompt_token_ids, output.metrics.media_tokens) == (
            TEXT,
            [],
            {},
        )
    drawn = SamplingParams(temperature=1, seed=7, n=3, max_tokens=6, logprobs=1, ignore_eos=True)
    several = (
        said(llm, {"prompt_token_ids": ids}, drawn),
        async_face.run(async_face.llm.generate({"prompt_embeds": rows}, drawn)),
    )
    assert [choice.token_ids for choice in several[0].outputs] == [
        choice.token_ids for choice in several[1].outputs
    ]


def test_long_prompts_come_in_chunks_and_only_equal_rows_are_found_again(
    llm: LLM, table: torch.Tensor
) -> None:
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 200, 700).tolist()  # more than a step computes
    rows = table[ids]
    by_ids = said(llm, {"prompt_token_ids": ids})
    first, again = said(llm, {"prompt_embeds": rows}), said(llm, {"prompt_embeds": rows})
    assert first.outputs[0].token_ids == again.outputs[0].token_ids == by_ids.outputs[0].token_ids
    assert (first.num_cached_tokens, again.num_cached_tokens) == (
        0,
        699,
    )  # the last token is always computed
    other = rows.clone()
    other[0] = table[ids[0] + 1]
    changed = said(llm, {"prompt_embeds": other})
    assert changed.num_cached_tokens == 0
    assert (
        changed.outputs[0].token_ids
        == said(llm, {"prompt_token_ids": [ids[0] + 1, *ids[1:]]}).outputs[0].token_ids
    )


def test_completions_take_one_or_several_beside_texts(
    server: Server, table: torch.Tensor, ids: list[int]
) -> None:
    asked = {"temperature": 0, "max_tokens": 8, "ignore_eos": True, "return_token_ids": True}
    by_ids = server.ask("/v1/completions", {"prompt": ids, **asked}).body["choices"][0]["token_ids"]
    rows = table[ids]
    for file in (saved(rows), saved(rows[None]), encode_embeds(rows)):
        body = server.ask("/v1/completions", {"prompt": "", "prompt_embeds": file, **asked}).body
        assert body["choices"][0]["token_ids"] == by_ids
        assert body["choices"][0]["prompt_token_ids"] == []
        assert body["usage"]["prompt_tokens"] == len(ids)
        assert body["usage"]["prompt_tokens_details"].keys() == {"cached_tokens"}
    mixed = {"prompt": [TEXT], "prompt_embeds": [saved(rows), saved(rows[:4])], **asked}
    body = server.ask("/v1/completions", mixed).body
    assert [choice["token_ids"] == by_ids for choice in body["choices"]] == [True, False, True]
    assert [len(choice["prompt_token_ids"]) for choice in body["choices"]] == [0, 0, len(ids)]
    told = {"include_usage": True, "continuous_usage_stats": True}
    events = server.stream(
        "/v1/completions", {"prompt_embeds": saved(rows), "stream_options": told, **asked}
    ).split(b"\n\n")
    assert {json.loads(event[6:])["usage"]["prompt_tokens"] for event in events[:-2]} == {len(ids)}


class Evil:
    def __reduce__(self) -> Any:
        return print, ("this must never be printed",)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (torch.full((4, 64), torch.nan), "no finite numbers"),
        (torch.ones(4, 65), "hidden size 64, got 65"),
        (torch.ones(2, 4, 64), "got shape [2, 4, 64]"),
        (torch.ones(64), "got shape [64]"),
        (torch.ones(0, 64), "at least 1 rows, got 0"),
        (torch.ones(4, 64, dtype=torch.int64), "got int64"),
        (torch.ones(1024, 64), "has 1024 tokens, the model's context is 1024"),
        (torch.ones(1025, 64), "the model's context is 1024"),
        (Evil(), "cannot be read"),
    ],
)
def test_wrong_rows_cost_their_own_request(server: Server, made: Any, says: str) -> None:
    before = pids(server)
    reply = server.ask("/v1/completions", {"prompt_embeds": saved(made), "max_tokens": 1})
    assert reply.status == 400
    assert says in reply.body["error"]["message"]
    assert pids(server) == before


def pids(server: Server) -> dict[str, int]:
    with Spectator(server.run_dir) as looker:
        return {
            role: pid for role, pid in looker.status().pids.items() if not role.startswith("client")
        }


def test_what_needs_tokens_is_refused_by_name(llm: LLM, table: torch.Tensor) -> None:
    with pytest.raises(RequestError, match="no tokens that could be scored") as raised:
        said(llm, {"prompt_embeds": table[:4]}, GREEDY.replace(prompt_logprobs=1))
    assert raised.value.failure.part == "prompt_logprobs"
