"""Bodies of /v1/responses in, prompts and refusals out: tables."""

import json
from typing import Any

import pytest
from openai.types.responses import Response

from thespis.frontends.inputs.unread import Unread
from thespis.frontends.openai.requests.response_items import joined
from thespis.frontends.openai.requests.responses import (
    ResponseCall,
    ResponseRequest,
    StoredItems,
    completed,
    parse_response,
    parse_stored,
)
from thespis.frontends.openai.requests.schema import decode, note_unknown
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.requests.guide import Guide
from thespis.protocol.requests.request import ChatMessage, ChatPrompt, Slot, Text, Url

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "done"}
THOUGHT = {
    "type": "reasoning", "id": "rs_1", "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
}  # fmt: skip
SAID = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "yes", "annotations": [], "logprobs": []}],
}  # fmt: skip
PARSED = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
THINKS = {"reasoning_content": "hm", "reasoning": "hm"}


def read(**body: Any) -> tuple[ResponseCall, list[str]]:
    raw, unread = json.dumps({"input": "hi", **body}).encode(), Unread()
    request = decode(ResponseRequest, raw)
    note_unknown(ResponseRequest, raw, unread)
    return parse_response(request, unread), unread.told


def messages(*items: Any, **body: Any) -> tuple[ChatMessage, ...]:
    call, told = read(input=list(items), **body)
    assert told == []
    if all("type" in item or "role" in item for item in items):
        call = completed(call, [], [])
    assert isinstance(call.prompt, ChatPrompt)
    return call.prompt.messages


def refused(**body: Any) -> Failure:
    with pytest.raises(RequestError) as raised:
        read(**body)
    return raised.value.failure


def assistant(*content: Text | Slot, **extra: Any) -> ChatMessage:
    return ChatMessage("assistant", content, extra)


HI = ChatMessage("user", (Text("hi"),))
DONE = ChatMessage("tool", (Text("done"),), {"tool_call_id": "c1", "name": "f"})


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([USER], [HI]),
        ([{"type": "message", **USER}], [HI]),
        ([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}], [HI]),
        ([{**USER, "role": "developer"}], [ChatMessage("system", HI.content)]),
        ([USER, SAID], [HI, assistant(Text("yes"))]),
        ([USER, CALL, RESULT], [HI, assistant(tool_calls=[PARSED]), DONE]),
        ([SAID, CALL], [assistant(Text("yes"), tool_calls=[PARSED])]),
        ([CALL, CALL], [assistant(tool_calls=[PARSED, PARSED])]),
        ([CALL, SAID], [assistant(tool_calls=[PARSED]), assistant(Text("yes"))]),
        ([SAID, SAID], [assistant(Text("yes")), assistant(Text("yes"))]),
        (
            [THOUGHT, SAID, CALL, RESULT, THOUGHT, SAID],
            [
                assistant(Text("yes"), **THINKS, tool_calls=[PARSED]),
                DONE,
                assistant(Text("yes"), **THINKS),
            ],
        ),
        ([USER, THOUGHT, USER], [HI, HI]),
        ([USER, THOUGHT], [HI]),
        (
            [{**THOUGHT, "content": None, "summary": [{"text": "hm"}]}, SAID],
            [assistant(Text("yes"), **THINKS)],
        ),
        ([{"type": "reasoning", "id": "rs_1", "summary": []}, SAID], [assistant(Text("yes"))]),
        ([{"id": "msg_1"}], [ChatMessage("item_reference", (), {"id": "msg_1"})]),
    ],
)  # fmt: skip
def test_items_become_messages(items: list[Any], expected: list[ChatMessage]) -> None:
    assert messages(*items) == tuple(expected)


def test_instructions_stand_first_and_are_one_with_the_inputs_own() -> None:
    first, second = messages({**USER, "role": "system"}, USER, instructions="Be brief.")
    assert first == ChatMessage("system", (Text("Be brief."), Text("\n\n"), Text("hi")))
    assert second == HI


def test_media_stand_where_their_parts_stand_also_in_results() -> None:
    picture = {"type": "input_image", "image_url": "https://host/a.png", "detail": "auto"}
    sound = {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}
    call, told = read(
        input=[
            {"role": "user", "content": [picture, {"type": "input_text", "text": "?"}, sound]},
            CALL,
            {**RESULT, "output": [picture]},
        ]
    )
    assert told == []
    assert isinstance(call.prompt, ChatPrompt)
    assert call.prompt.messages[0].content == (Slot(0), Text("?"), Slot(1))
    assert call.prompt.messages[2].content == (Slot(2),)
    assert [item.where for item in call.media] == [
        "input[0].content[0]", "input[0].content[2]", "input[2].output[0]",
    ]  # fmt: skip
    assert call.media[2].content == Url("https://host/a.png")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "part", "code"),
    [
        ({"input": None}, "input", "empty_messages"),
        ({"input": []}, "input", "empty_messages"),
        ({"input": 7}, "input", "wrong_type"),
        ({"input": [7]}, "input[0]", "wrong_type"),
        ({"input": [{"role": "king", "content": ""}]}, "input[0].role", "invalid_role"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_field"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content", "wrong_type"),
        ({"input": [{"role": "user", "content": [7]}]}, "input[0].content[0]", "wrong_type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].image_url",
            "missing_field",
        ),
        ({"input": [USER, {"type": "computer_call"}]}, "input[1].type", "unsupported"),
        ({"input": [{"type": 7}]}, "input[0].type", "unsupported"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id", "missing_field"),
        ({"input": [{**CALL, "arguments": "{"}]}, "input[0].arguments", "invalid_tool_call"),
        ({"input": [{**CALL, "arguments": "[1]"}]}, "input[0].arguments", "invalid_tool_call"),
        ({"input": [{**CALL, "arguments": '"a"'}]}, "input[0].arguments", "invalid_tool_call"),
        (
            {"input": [{**CALL, "arguments": f'{{"a": {1 << 70}}}'}]},
            "input[0].arguments",
            "out_of_range",
        ),
        ({"input": [{**RESULT, "output": None}]}, "input[0].output", "missing_field"),
        ({"input": [{**THOUGHT, "content": [{}]}]}, "input[0].content[0].text", "missing_field"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id", "missing_field"),
        ({"background": True}, "background", "unsupported"),
        ({"conversation": "conv_1"}, "conversation", "unsupported"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported"),
        ({"moderation": {"model": "m"}}, "moderation", "unknown_field"),
        ({"max_tokens": 4}, "max_tokens", "unsupported"),
        ({"response_format": {"type": "text"}}, "response_format", "unsupported"),
        ({"n": 2}, "n", "unsupported"),
        ({"max_output_tokens": 0}, "max_output_tokens", "out_of_range"),
        ({"top_logprobs": -1}, "top_logprobs", "out_of_range"),
        ({"temperature": -1}, "temperature", "out_of_range"),
        ({"truncation": "never"}, "truncation", "wrong_type"),
        ({"metadata": {"a": 7}}, "metadata[...]", "wrong_type"),
        ({"metadata": {"a" * 65: ""}}, "metadata", "out_of_range"),
        ({"metadata": {"a": "b" * 513}}, "metadata", "out_of_range"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "out_of_range"),
        ({"safety_identifier": "a" * 129}, "safety_identifier", "out_of_range"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "invalid_tool"),
        ({"tools": [{**TOOL, "parameters": 7}]}, "tools[0].parameters", "invalid_tool"),
        ({"tools": [TOOL, TOOL]}, "tools[1]", "invalid_tool"),
        ({"tool_choice": "required"}, "tool_choice", "missing_field"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}},
            "tool_choice.name",
            "unknown_tool",
        ),
        ({"tools": [TOOL], "tool_choice": {"type": "mcp"}}, "tool_choice.type", "unsupported"),
        ({"text": {"format": 7}}, "text.format", "wrong_type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "unsupported"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format", "missing_field"),
        ({"text": {"verbosity": 7}}, "text.verbosity", "wrong_type"),
        ({"reasoning": {"effort": 7}}, "reasoning.effort", "wrong_type"),
        (
            {"text": {"format": {"type": "json_object"}}, "guided_regex": "a"},
            "text.format",
            "contradicting_fields",
        ),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], part: str, code: str) -> None:
    failure = refused(**body)
    assert (failure.part, failure.code) == (part, code)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"include": ["message.output_text.logprobs"]}, []),
        ({"include": ["file_search_call.results"]}, ["include"]),
        ({"truncation": "disabled", "service_tier": "auto"}, []),
        ({"truncation": "auto", "service_tier": "flex"}, ["truncation", "service_tier"]),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, ["reasoning.summary"]),
        ({"text": {"verbosity": "low"}}, ["text.verbosity"]),
        ({"tools": [{**TOOL, "mood": 1}]}, ["tools[0].mood"]),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "f", "x": 1}},
         ["tool_choice.x"]),
        ({"input": [{**THOUGHT, "encrypted_content": "x"}, USER]}, ["input[0].encrypted_content"]),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told(body: dict[str, Any], told: list[str]) -> None:
    assert read(**body)[1] == told


def test_forms_of_text() -> None:
    def guide(**wanted: Any) -> Guide | None:
        found = read(text={"format": wanted})[0].sampling.structured_outputs
        assert found is None or isinstance(found, Guide)
        return found

    assert guide(type="text") is None
    assert (found := guide(type="json_object")) is not None
    assert found.kind == "json_object"
    found = guide(type="json_schema", name="a", strict=True, schema={"type": "object"})
    assert found is not None
    assert (found.kind, found.part) == ("json_schema", "text.format.schema")


def test_effort_is_the_templates() -> None:
    def kwargs(**body: Any) -> dict[str, Any]:
        prompt = read(**body)[0].prompt
        assert isinstance(prompt, ChatPrompt)
        return prompt.template_kwargs

    assert kwargs(reasoning={"effort": "low"}) == {"reasoning_effort": "low"}
    assert kwargs(reasoning={"effort": "none"}) == {"enable_thinking": False}
    assert kwargs(reasoning={}) == kwargs() == {}
    own = {"reasoning_effort": "high"}
    assert kwargs(reasoning={"effort": "low"}, chat_template_kwargs=own) == own


def test_logprobs_are_told_where_they_are_asked_for() -> None:
    include = ["message.output_text.logprobs"]
    assert read()[0].sampling.logprobs is None
    assert read(include=include)[0].sampling.logprobs == 0
    assert read(include=include, top_logprobs=3)[0].sampling.logprobs == 3
    assert read(top_logprobs=3)[0].sampling.logprobs == 3


def test_what_a_response_says_of_its_request_is_of_openais_types() -> None:
    call, _ = read(
        tools=[TOOL], tool_choice={"type": "function", "name": "f"}, user="u", top_p=0.5,
        text={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        instructions="i", metadata={"a": "b"}, max_output_tokens=9, prompt_cache_key="k",
    )  # fmt: skip
    fixed = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": []}
    said = Response.model_validate({**json.loads(call.echo), **fixed})
    assert (said.top_p, said.temperature, said.user, said.instructions) == (0.5, 1.0, "u", "i")
    assert said.tool_choice.name == "f"  # type: ignore[union-attr]
    assert said.text is not None
    assert said.text.format is not None
    assert said.text.format.type == "json_schema"


def test_the_items_that_are_stored() -> None:
    text = [{"type": "input_text", "text": "hi"}]
    item = {"type": "message", "role": "user", "content": text}
    assert json.loads(read()[0].items or b"") == [item]
    assert json.loads(read(input=[USER])[0].items or b"") == [USER]
    assert read(store=False)[0].items is None


def test_items_of_earlier_responses_stand_behind_the_instructions() -> None:
    picture = {"type": "input_image", "image_url": "https://host/a.png"}
    seen = {"role": "user", "content": [picture, {"type": "input_text", "text": "?"}]}
    raw = json.dumps({"items": [seen, CALL, SAID]}).encode()
    first, call, said = parse_stored(decode(StoredItems, raw))
    asked, _ = read(
        input=[{"id": "msg_1"}, RESULT, {"role": "user", "content": [picture]}],
        instructions="Be brief.",
        previous_response_id="resp_1",
    )
    whole = completed(asked, [first, call], [said])
    assert isinstance(whole.prompt, ChatPrompt)
    assert whole.prompt.messages == (
        ChatMessage("system", (Text("Be brief."),)),
        ChatMessage("user", (Slot(1), Text("?"))),
        assistant(tool_calls=[PARSED]),
        assistant(Text("yes")),
        DONE,
        ChatMessage("user", (Slot(0),)),
    )
    assert [item.where for item in whole.media] == [
        "input[2].content[0]",
        "previous_response_id[0].content[0]",
    ]


def test_a_turn_of_many_items_is_read_once() -> None:
    """Of 100,000 each would take minutes if it were copied for every item."""
    count = 100_000
    calls = [
        ChatMessage(
            "assistant", (), {"tool_calls": [{"id": str(n), "function": {"name": "f", "n": n}}]}
        )
        for n in range(count)
    ]
    (turn,) = joined(calls)
    assert [call["function"]["n"] for call in turn.extra["tool_calls"]] == list(range(count))
    (told,) = joined(ChatMessage("system", (Text("a"),), {}) for _ in range(count))
    assert told.content == (Text("a"), Text("\n\n")) * (count - 1) + (Text("a"),)
