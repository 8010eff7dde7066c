"""Tool calls: found in text however it is cut, told as OpenAI tells them, and asked for in the
request's own words."""

import json
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.frontends.openai.requests.chat import parse_chat
from thespis.frontends.openai.requests.schema import ChatRequest, decode
from thespis.frontends.openai.tools.json_reader import Arguments, CallStart, Words
from thespis.frontends.openai.tools.parsers import make_parser
from thespis.protocol.chat_templates.tool_styles import Style
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatPrompt

from ..fake import FakeClient, served

CALL = '{"name": "add", "arguments": {"a": 1, "b": "x</tool_call>\\"}"}}'
NAMES = ("add", "look_up")
ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
        },
    },
}


def parse(style: Style, *pieces: str) -> tuple[str, list[tuple[str, str]]]:
    """Text and calls, whatever the pieces."""
    parser = make_parser(style, dict.fromkeys(NAMES))
    text, calls = "", []
    for event in [e for piece in pieces for e in parser.feed(piece)] + parser.finish():
        match event:
            case Words(words):
                text += words
            case CallStart(name):
                calls.append((name, ""))
            case Arguments(piece):
                calls[-1] = (calls[-1][0], calls[-1][1] + piece)
    return text, calls


def hermes(*calls: str) -> str:
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


@pytest.mark.parametrize(
    ("style", "text", "expected"),
    [
        ("hermes", "just text \n", ("just text \n", [])),
        ("hermes", hermes(CALL), ("", [("add", '{"a": 1, "b": "x</tool_call>\\"}"}')])),
        ("hermes", "I add.\n\n" + hermes(CALL, '{"arguments": {}, "name": "f"}') + "\n",
         ("I add.", [("add", '{"a": 1, "b": "x</tool_call>\\"}"}'), ("f", "{}")])),
        ("hermes", '<tool_call>{"name": "f", "arguments": '
        '"{\\"a\\": 1}"}</tool_call>', ("", [("f", '{"a": 1}')])),
        ("hermes", '<tool_call>{"name": '
        '"f"}<tool_call>{"name": "g", "arguments": null}', ("", [("f", "{}"), ("g", "{}")])),
        ("hermes", "a <tool_call>oops</tool_call> b", ("a <tool_call>oops</tool_call> b", [])),
        ("hermes", 'a <tool_call>{"name": "f', ('a <tool_call>{"name": "f', [])),
        ("hermes", '<tool_call>{"name": "f", "arguments": {"a', ("", [("f", '{"a')])),
        ("hermes", "a < b <tool", ("a < b <tool", [])),
        ("json", '{"name": "add", "parameters": {"a": 1}}', ("", [("add", '{"a": 1}')])),
        ("json",
            '<|python_tag|>{"name": "add", "parameters": {}}; {"name": "look_up", "arguments": '
        '{"b": []}}',
         ("", [("add", "{}"), ("look_up", '{"b": []}')])),
        ("json", '[{"name": "add", "parameters": {}}, {"parameters": {"q": 2}, "name": "add"}]\n',
         ("", [("add", "{}"), ("add", '{"q": 2}')])),
        ("json", '{"name": "Alice", "arguments": {}}', ('{"name": "Alice", "arguments": {}}', [])),
        ("json", ' {"name": "add", "age": 3}', (' {"name": "add", "age": 3}', [])),
        ("json", "[1, 2]", ("[1, 2]", [])),
        ("json", "text first {}", ("text first {}", [])),
    ],
)  # fmt: skip
def test_S52_calls_are_found_in_both_styles(style: Style, text: str, expected: Any) -> None:
    assert parse(style, text) == expected
    assert parse(style, *text) == expected


FRAGMENTS = st.lists(
    st.sampled_from(
        ["<tool_call>", "</tool_call>", "<tool", "\n", " ", "{", "}", '"name"', '"arguments"',
            "parameters", ": ", ", ",
         '"add"',
         '"', "\\", "[", "]", "null", "12", "é", "x", CALL, '{"name": "add", '
         '"parameters": {}}', ";", "<|python_tag|>"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["hermes", "json"]), FRAGMENTS, st.data())
def test_S52_how_the_text_is_cut_changes_nothing(
    style: Style, text: str, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = parse(style, text)
    assert parse(style, *pieces) == whole
    assert parse(style, *text) == whole
    if not whole[1]:
        assert whole[0] == text  # a text answer stays text


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.text(max_size=9) | st.integers() | st.lists(st.booleans()),
        max_size=4,
    )
)
def test_S52_arguments_arrive_as_they_were_written(arguments: dict[str, Any]) -> None:
    body = json.dumps(arguments, ensure_ascii=False)
    for style, key in (("hermes", "arguments"), ("json", "parameters")):
        call = f'{{"name": "add", "{key}": {body}}}'
        text = hermes(call) if style == "hermes" else call
        assert parse(style, *text) == ("", [("add", body)])  # type: ignore[arg-type]


def chat(**body: Any) -> Any:
    given = {"messages": [{"role": "user", "content": "hi"}], **body}
    return parse_chat(decode(ChatRequest, json.dumps(given).encode()))


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"tools": [{"type": "retrieval"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [ADD, ADD]}, "tools[1]"),
        ({"tools": [ADD], "tool_choice": "sometimes"}, "tool_choice"),
        (
            {"tools": [ADD], "tool_choice": {"type": "function", "function": {"name": "no"}}},
            "tool_choice.function.name",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [ADD], "guided_regex": "a"}, "tools"),
        ({"guided_regex": "a", "guided_json": {}}, "guided_regex"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"jason": {}}}, "structured_outputs"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"bad_words": [""]}, "bad_words"),
    ],
)
def test_S52_S51_bad_fields_are_named(body: dict[str, Any], part: str) -> None:
    with pytest.raises(RequestError) as refused:
        chat(**body)
    assert refused.value.status == 400
    assert refused.value.failure.part == part


def test_S52_tools_reach_the_template_unless_none_is_chosen() -> None:
    for choice, told in ((None, 1), ("auto", 1), ("none", 0), ("required", 1)):
        job = chat(tools=[ADD], tool_choice=choice)
        assert isinstance(job.prompt, ChatPrompt)
        assert len(job.prompt.tools) == told
        assert (job.sampling.structured_outputs is not None) == (choice == "required")


def speaking(*words: str) -> FakeClient:
    client = FakeClient()
    client.words, client.pace = words, 0.002
    return client


async def test_S52_streamed_deltas_are_those_of_the_openai_client() -> None:
    client = speaking(
        "Sure",
        ".\n",
        "<tool",
        "_call>\n",
        '{"name": "add", "argu',
        'ments": {"a"',
        ": 41",
        "}}\n</tool_call>",
        "\n" + hermes(CALL),
    )
    async with (
        served(client) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as api,
    ):
        stream = await api.chat.completions.create(
            model="fake-model",
            messages=[{"role": "user", "content": "hi"}],
            tools=[ADD],
            stream=True,
        )
        chunks = [chunk.choices[0] async for chunk in stream]
        whole = await api.chat.completions.create(
            model="fake-model", messages=[{"role": "user", "content": "hi"}], tools=[ADD]
        )
    deltas = [delta for chunk in chunks for delta in chunk.delta.tool_calls or ()]
    firsts = [delta for delta in deltas if delta.id]
    assert [d.index for d in firsts] == [0, 1]
    assert all(
        d.type == "function"
        and d.function
        and d.function.name == "add"
        and d.function.arguments == ""
        for d in firsts
    )
    rest = [d for d in deltas if not d.id]
    assert (
        "".join(d.function.arguments or "" for d in rest if d.function and d.index == 0)
        == '{"a": 41}'
    )
    assert len([d for d in rest if d.index == 0]) > 1
    assert all(d.function and d.function.name is None and d.type is None for d in rest)
    assert "".join(chunk.delta.content or "" for chunk in chunks) == "Sure."
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]
    message = whole.choices[0].message
    assert message.content == "Sure."
    assert message.tool_calls is not None
    assert [
        json.loads(c.function.arguments)["a"] for c in message.tool_calls if c.type == "function"
    ] == [41, 1]
    assert whole.choices[0].finish_reason == "tool_calls"


async def test_S52_text_with_tools_stays_text_and_one_call_is_one() -> None:
    hi: Any = [{"role": "user", "content": "hi"}]
    for words, parallel, text, calls in (
        (("a ", "b <tool", " \n"), True, "a b <tool \n", 0),
        ((hermes(CALL, CALL),), False, None, 1),
    ):
        async with (
            served(speaking(*words)) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as api,
        ):
            answer = await api.chat.completions.create(
                model="fake-model", messages=hi, tools=[ADD], parallel_tool_calls=parallel
            )
        assert answer.choices[0].message.content == text
        assert len(answer.choices[0].message.tool_calls or ()) == calls
        assert answer.choices[0].finish_reason == ("tool_calls" if calls else "stop")


def test_S73_allowed_tools_are_the_only_ones_that_the_model_sees() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    named = [{"type": "function", "function": {"name": "add"}}]
    for mode in ("auto", "required"):
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}
        job = chat(tools=[other, ADD], tool_choice=choice)
        assert job.prompt.tools == (ADD,)
        assert list(job.reading.tools.schemas) == ["add"]
        assert (job.sampling.structured_outputs is not None) == (mode == "required")


@pytest.mark.parametrize(
    ("allowed", "part"),
    [
        ({"mode": "auto", "tools": []}, "tools"),
        ({"mode": "auto"}, "tools"),
        ({"mode": "any", "tools": []}, "mode"),
        ({"mode": "auto", "tools": [{"type": "function"}]}, "tools[0]"),
        ({"mode": "auto", "tools": [{"function": {"name": "no"}}]}, "tools[0]"),
        (None, "mode"),
    ],
)
def test_S73_bad_allowed_tools_are_named(allowed: Any, part: str) -> None:
    with pytest.raises(RequestError) as refused:
        chat(tools=[ADD], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert refused.value.failure.part == f"tool_choice.allowed_tools.{part}"
