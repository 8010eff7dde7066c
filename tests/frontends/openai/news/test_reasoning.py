"""Thinking over HTTP: parts of messages and deltas, switches, what comes back into the prompt."""

import json
from typing import Any

import openai
import pytest

from thespis.frontends.openai.requests.chat import parse_chat
from thespis.frontends.openai.requests.common import ChatTerms
from thespis.frontends.openai.requests.schema import ChatRequest, decode
from thespis.protocol.chat_templates.reasoning import MARKS
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatPrompt

from ..fake import FakeClient, http_config, served

HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
WORDS = (
    "<thi", "nk>\nlet", " me ", "\n</think>", "\n\nSure.", "\n<tool_call>",
    '{"name": "add", "arguments": {"a": 1}}', "</tool_call>",
)  # fmt: skip


def thinker() -> FakeClient:
    client = FakeClient()
    client.words, client.pace = WORDS, 0.002
    return client


async def ask(client: FakeClient, parser: str = "qwen3", **body: Any) -> Any:
    config = http_config(engine={"reasoning_parser": parser})
    async with (
        served(client, config) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as api,
    ):
        told = {"model": "fake-model", "messages": HI, "tools": [TOOL], **body}
        if not body.get("stream"):
            return await api.chat.completions.create(**told)
        return [chunk async for chunk in await api.chat.completions.create(**told)]


async def test_S73_a_message_has_its_thinking_beside_words_and_calls() -> None:
    answer = await ask(thinker())
    message = answer.choices[0].message
    assert (message.reasoning_content, message.reasoning) == ("let me", "let me")
    assert message.content == "Sure."
    assert [call.function.arguments for call in message.tool_calls] == ['{"a": 1}']
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_S73_deltas_come_in_their_order() -> None:
    chunks = await ask(thinker(), stream=True)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thoughts = [getattr(delta, "reasoning_content", None) for delta in deltas]
    assert "".join(filter(None, thoughts)) == "let me"
    assert [getattr(delta, "reasoning", None) for delta in deltas] == thoughts
    assert "".join(delta.content or "" for delta in deltas) == "Sure."
    kinds = [
        "thinking" if getattr(delta, "reasoning", None)
        else "call" if delta.tool_calls else "words" if delta.content else ""
        for delta in deltas
    ]  # fmt: skip
    assert list(dict.fromkeys(filter(None, kinds))) == ["thinking", "words", "call"]


async def test_S73_thinking_can_be_left_out_or_not_be_looked_for() -> None:
    hidden = await ask(thinker(), extra_body={"include_reasoning": False})
    assert not hasattr(hidden.choices[0].message, "reasoning_content")
    assert hidden.choices[0].message.content == "Sure."
    raw = await ask(thinker(), "none")
    assert raw.choices[0].message.content == "<think>\nlet me \n</think>\n\nSure."


async def test_S73_each_token_is_told_of_once_with_its_scores() -> None:
    chunks = await ask(thinker(), stream=True, logprobs=True, extra_body={"return_token_ids": True})
    ids = [i for c in chunks for i in getattr(c.choices[0], "token_ids", None) or ()]
    assert ids == list(range(len(WORDS)))
    scored = [e for c in chunks if (s := c.choices[0].logprobs) for e in s.content or ()]
    assert len(scored) == len(WORDS)


def parsed(**body: Any) -> Any:
    given = {"messages": HI, **body}
    terms = ChatTerms(marks=MARKS["qwen3"])
    return parse_chat(decode(ChatRequest, json.dumps(given).encode()), terms=terms)


def test_S73_the_switches_of_thinking_reach_the_template() -> None:
    job = parsed(enable_thinking=False, reasoning_effort="high")
    assert job.prompt.template_kwargs == {"enable_thinking": False, "reasoning_effort": "high"}
    job = parsed(enable_thinking=False, chat_template_kwargs={"enable_thinking": True, "x": 1})
    assert job.prompt.template_kwargs == {"enable_thinking": True, "x": 1}


def test_S73_thinking_given_back_reaches_the_template() -> None:
    said = [
        *HI,
        {"role": "assistant", "content": "yes", "reasoning_content": "hm"},
        {"role": "assistant", "content": "no", "reasoning": "ah"},
        {"role": "user", "content": "so?", "reasoning": "ignored"},
    ]
    prompt = parsed(messages=said).prompt
    assert isinstance(prompt, ChatPrompt)
    assert [message.extra for message in prompt.messages] == [
        {},
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"reasoning_content": "ah", "reasoning": "ah"},
        {},
    ]


@pytest.mark.parametrize(
    "name", ["thinking_token_budget", "thinking_budget", "max_thinking_tokens"]
)
def test_S73_a_budget_by_any_name(name: str) -> None:
    assert parsed(**{name: 7}).sampling.thinking_token_budget == 7
    with pytest.raises(RequestError, match="between 0"):
        parsed(**{name: -1})


def test_S73_budgets_that_differ_are_refused() -> None:
    with pytest.raises(RequestError, match="It differs from `thinking_token_budget`"):
        parsed(thinking_token_budget=1, thinking_budget=2)


@pytest.mark.parametrize(
    ("begun", "follows"),
    [
        ("I am", True),
        ("<think>I", True),
        ("<think>so</think>\n", False),
        ("<think>\n", False),
        ("", True),
    ],
)
def test_an_answer_that_its_caller_began_keeps_its_white_space(begun: str, follows: bool) -> None:
    said = [*HI, {"role": "assistant", "content": begun}]
    asked = parsed(messages=said, continue_final_message=True, add_generation_prompt=False)
    assert asked.reading.follows_words == follows
    assert not parsed(messages=said).reading.follows_words
