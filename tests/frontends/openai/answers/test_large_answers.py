"""Log-probabilities of many choices: written as they come, and not in one go when all are there and
everybody waits."""

import asyncio
from typing import Any

import msgspec
import pytest

from thespis.frontends.client.answer import Answer
from thespis.frontends.client.stream import Choice, Update
from thespis.frontends.openai.answers import generate
from thespis.frontends.openai.answers.writer import AnswerOptions, ResponseWriter
from thespis.frontends.openai.chat.writer import ChatWriter
from thespis.frontends.openai.completions import handler
from thespis.frontends.openai.completions.writer import CompletionWriter
from thespis.frontends.openai.news.reading import Reading
from thespis.frontends.openai.tools.definitions import ToolUse

from ..fake import FakeClient, position, post, served

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hi"}]
CHOICES = 3
OPTIONS = AnswerOptions(
    created=1,
    arrival=0.0,
    model="m",
    n=CHOICES,
    logprobs=2,
    prompt_logprobs=True,
    return_token_ids=True,
)


def writers() -> list[ResponseWriter]:
    return [
        ChatWriter("r", OPTIONS),
        CompletionWriter("r", OPTIONS, lambda ids: "".join(f"<{id}>" for id in ids)),
    ]


def update(token: int) -> Update:
    choices = [Choice(at, "x", [token], [position(token, "x", 2)]) for at in range(CHOICES)]
    return Update(choices, prompt_logprobs=[position(6, "p", 2)] * 2 if token == 0 else None)


@pytest.mark.parametrize("writer", writers())
def test_nothing_is_left_to_be_written_at_the_end(writer: ResponseWriter) -> None:
    """128 choices of 1,000 tokens with 50 alternatives held the loop of every stream for 20 s."""
    answer, written = Answer(CHOICES), 0
    answer.prompt_token_ids = (5, 6, 6)
    for token in range(10):
        came = update(token)
        written += writer.gather(0, came)
        assert came.prompt_logprobs is None
        assert not any(choice.logprobs for choice in came.choices)
        answer.add(came)
    pieces = list(writer.whole([answer]))
    assert len(pieces) == CHOICES + 1  # others have their turns between them
    body: dict[str, Any] = msgspec.json.decode(b"".join(pieces))
    assert written < len(b"".join(pieces))
    for choice in body["choices"]:
        scores = choice["logprobs"]
        assert len(scores.get("content") or scores["top_logprobs"]) == 10
    table = (body if "prompt_logprobs" in body else body["choices"][2])["prompt_logprobs"]
    assert table[0] is None
    assert [sorted(entry) for entry in table[1:]] == [["200", "6"]] * 2


def test_what_waited_for_a_slow_reader_is_written_in_turns() -> None:
    """A caller who asks for everything, reads nothing, and then reads on: all that had come was
    written in one go."""
    merged = Update(
        [
            Choice(at, "text", list(range(500)), [position(0, "x", 2)] * 500, "stop", 7)
            for at in range(CHOICES)
        ]
    )
    parts = list(generate.in_turns(merged))
    assert parts == [merged]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "SCORES_AT_ONCE", 300)
        parts = list(generate.in_turns(merged))
        assert len(parts) == 5 * CHOICES
        joined = [Choice(at) for at in range(CHOICES)]
        for part in parts:
            (choice,) = part.choices
            assert len(choice.logprobs) == 100
            joined[choice.index].add(choice)
        assert joined == merged.choices
        assert [choice.finish_reason for part in parts for choice in part.choices].count(
            "stop"
        ) == CHOICES
        textless = Update([Choice(0, "held back", [], [], "stop"), *merged.choices])
        assert (
            sum(
                choice.finish_reason == "stop"
                for part in generate.in_turns(textless)
                for choice in part.choices
            )
            == 4
        )


def test_calls_are_read_as_they_come() -> None:
    """Four microseconds a character, of 128 choices in one go."""
    tools = ToolUse(definitions=(), schemas={"f": {}}, style="hermes")
    writer = ChatWriter(
        "r",
        msgspec.structs.replace(
            OPTIONS, logprobs=None, prompt_logprobs=False, n=2, reading=Reading(tools)
        ),
    )
    text = 'say <tool_call>{"name": "f", "arguments": {"a": "b"}}</tool_call>'
    answer = Answer(2)
    for at, char in enumerate(text):
        came = Update(
            [
                Choice(index, char, [at], [], "stop" if at == len(text) - 1 else None)
                for index in range(2)
            ]
        )
        writer.gather(0, came)
        answer.add(came)
    for choice in msgspec.json.decode(b"".join(writer.whole([answer])))["choices"]:
        (call,) = choice["message"]["tool_calls"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("say", "tool_calls")
        assert call["function"] == {"name": "f", "arguments": '{"a": "b"}'}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": HELLO, "logprobs": True, "n": 9}),
        (COMPLETIONS, {"prompt": "x", "logprobs": 3, "n": 9}),
        (COMPLETIONS, {"prompt": "x", "prompt_logprobs": 1, "n": 100}),
        (COMPLETIONS, {"prompt": "x" * 1000, "echo": True}),
    ],
)
async def test_an_answer_too_large_to_be_held_is_refused(
    path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "MOST_WHOLE", 600)
    client = FakeClient()
    async with served(client) as url:
        status, answer, _ = await post(url, path, body)
        assert (status, answer["error"]["code"]) == (400, "answer_too_large")
        assert "or for a stream" in answer["error"]["message"]
        assert (await post(url, COMPLETIONS, {"prompt": "x"}))[0] == 200


async def test_others_have_their_turns_between_the_prompts_that_are_echoed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand prompts of four thousand token ids were made into text in one go, before any was
    refused."""
    turns = 0
    seen: list[int] = []

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def detokenize(token_ids: Any, terms: Any) -> str:
        seen.append(turns)
        return "text"

    monkeypatch.setattr(handler, "detokenize", detokenize)
    async with served(FakeClient()) as url:
        counting = asyncio.create_task(count())
        status, answer, _ = await post(
            url, COMPLETIONS, {"prompt": [[5, 6]] * 8, "echo": True, "max_tokens": 1}
        )
        counting.cancel()
    assert status == 200
    assert {choice["text"] for choice in answer["choices"]} == {"texta"}
    assert len(seen) == len(set(seen)) == 8


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_large_answer_is_sent_in_pieces_and_is_the_same(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked() -> tuple[Any, Any]:
        async with served(FakeClient()) as url:
            body = {"messages": HELLO} if path == CHAT else {"prompt": "x"}
            status, answer, headers = await post(url, path, {**body, "n": 9})
            assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/json")
            return answer["choices"], headers["Content-Length"]

    at_once = await asked()
    monkeypatch.setattr(generate, "PIECE", 100)
    assert await asked() == at_once
