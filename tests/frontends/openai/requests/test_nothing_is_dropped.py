"""What a caller writes anywhere in a body is read, refused by name, or named in the header of
ignored fields."""

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.inputs.conversations import read_chat
from thespis.frontends.inputs.media import Pending
from thespis.frontends.inputs.unread import Unread
from thespis.frontends.openai.requests.chat import parse_chat
from thespis.frontends.openai.requests.common import ChatTerms
from thespis.frontends.openai.requests.schema import ChatRequest, decode, note_unknown
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import Url

from ..fake import FakeClient, post, served

PNG = "data:image/png;base64," + base64.b64encode(b"picture").decode()
JPEGS = "data:video/jpeg;base64,YQ==,Yg=="
BODY: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}, "uuid": "u"},
                {"type": "input_image", "image_url": PNG},
                {"type": "video_url", "video_url": {"url": "https://host/a.mp4"}},
                {"type": "video_url", "video_url": {"url": JPEGS}},
                {"type": "audio_url", "audio_url": {"url": "https://host/a.wav"}},
                {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}},
                {
                    "type": "image_embeds",
                    "image_embeds": {"image_embeds": "YQ==", "image_grid_thw": [1, 2, 2]},
                },
                {"type": "video_embeds", "video_embeds": "YQ==", "video_grid_thw": [1, 2, 2]},
            ],
        },
    ],
    "response_format": {"type": "json_object"},
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
}
PLACES: list[tuple[str, list[Any]]] = [
    ("", []),
    ("messages[0]", ["messages", 0]),
    ("messages[1]", ["messages", 1]),
    *((f"messages[1].content[{n}]", ["messages", 1, "content", n]) for n in range(9)),
    ("messages[1].content[1].image_url", ["messages", 1, "content", 1, "image_url"]),
    ("messages[1].content[3].video_url", ["messages", 1, "content", 3, "video_url"]),
    ("messages[1].content[4].video_url", ["messages", 1, "content", 4, "video_url"]),
    ("messages[1].content[5].audio_url", ["messages", 1, "content", 5, "audio_url"]),
    ("messages[1].content[6].input_audio", ["messages", 1, "content", 6, "input_audio"]),
    ("messages[1].content[7].image_embeds", ["messages", 1, "content", 7, "image_embeds"]),
    ("response_format", ["response_format"]),
    ("stream_options", ["stream_options"]),
    ("tool_choice", ["tool_choice"]),
    ("tool_choice.function", ["tool_choice", "function"]),
]


def read(body: dict[str, Any]) -> tuple[Any, list[str]]:
    """As the server reads it, and what it says is ignored."""
    unread, raw = Unread(), json.dumps(body).encode()
    note_unknown(ChatRequest, raw, unread)
    return parse_chat(decode(ChatRequest, raw), unread, ChatTerms(embeds=True)), unread.told


def test_the_body_itself_is_read_wholly() -> None:
    assert read(BODY)[1] == []


@given(
    place=st.sampled_from(PLACES),
    name=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    value=st.just(1) | st.just("x"),
)
def test_an_unknown_key_anywhere_is_named_or_refused(
    place: tuple[str, list[Any]], name: str, value: Any
) -> None:
    path, steps = place
    body = copy.deepcopy(BODY)
    target: Any = body
    for step in steps:
        target = target[step]
    if name in target:
        return
    target[name] = value
    plain = read(BODY)[0]
    try:
        made, told = read(body)
    except RequestError:
        return
    at = f"{path}.{name}" if path else name
    assert at in told or made != plain, "it was dropped in silence"


FUNCTION: dict[str, Any] = {
    "name": "f",
    "description": "d",
    "strict": True,
    "parameters": {"type": "object"},
}
CALL: dict[str, Any] = {
    "id": "c",
    "type": "function",
    "index": 0,
    "function": {"name": "f", "arguments": "{}"},
}


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ({"type": "function", "function": {**FUNCTION, "return": {"type": "string"}}}, []),
        ({"type": "function", "function": {**FUNCTION, "description": None, "cache_control": None}},
            []),
        ({"type": "function", "function": {"name": "f", "inputSchema": {}}},
            ["function.inputSchema"]),
        ({"type": "function", "function": {"name": "f", "input_schema": {}}},
            ["function.input_schema"]),
        ({"type": "function", "function": FUNCTION, "cache_control": {"type": "ephemeral"}},
            ["cache_control"]),
        ({"type": "function", "function": {**FUNCTION, "annotations": {"x": 1}, "title": "t"}},
            ["function.annotations",
         "function.title"]),
        ({"function": FUNCTION, "strict": True}, ["strict"]),
    ],
)  # fmt: skip
def test_what_is_not_known_of_a_tool_is_named(tool: dict[str, Any], told: list[str]) -> None:
    assert read({**BODY, "tools": [tool]})[1] == [f"tools[0].{name}" for name in told]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (CALL, []),
        ({**CALL, "extra_content": {"google": {}}}, ["extra_content"]),
        (
            {**CALL, "function": {**CALL["function"], "arguments": {}, "parsed": 1}},
            ["function.parsed"],
        ),
        ({**CALL, "args": {"a": 1}}, ["args"]),
        ({**CALL, "function": {"name": "f", "parameters": {"a": 1}}}, ["function.parameters"]),
    ],
)
def test_what_is_not_known_of_an_earlier_call_is_named(
    call: dict[str, Any], told: list[str]
) -> None:
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "r"},
    ]
    assert read({"messages": messages})[1] == [f"messages[0].tool_calls[0].{name}" for name in told]


def part(*content: dict[str, Any]) -> tuple[list[Pending], list[str]]:
    made, told = read({"messages": [{"role": "user", "content": list(content)}]})
    return list(made.media), told


VIDEO = {"type": "video_url", "video_url": {"url": "https://host/a.mp4"}}


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ({"type": "image_url", "image_url": PNG, "max_pixels": 5000}, {"max_pixels": 5000}, []),
        (
            {"type": "image_url", "image_url": {"url": PNG, "max_pixels": 5000}, "min_pixels": 9},
            {"min_pixels": 9, "max_pixels": 5000},
            [],
        ),
        (
            {"type": "image_url", "image_url": {"url": PNG, "max_pixels": 7}, "max_pixels": 9},
            {"max_pixels": 7},
            [],
        ),
        ({**VIDEO, "fps": 1.5, "num_frames": 4}, {"fps": 1.5, "num_frames": 4}, []),
        ({**VIDEO, "do_sample_frames": False}, {"do_sample_frames": False}, []),
        ({**VIDEO, "nframes": 4, "duration": 3}, {}, ["nframes", "duration"]),
        (
            {"type": "video_url", "video_url": JPEGS, "fps": 2, "duration": 1, "max_pixels": 8},
            {"max_pixels": 8},
            [],
        ),
        ({"type": "video_url", "video_url": JPEGS, "resized_height": 28}, {}, ["resized_height"]),
        ({"type": "image_url", "image_url": PNG, "fps": 2}, {}, ["fps"]),
        (
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            {},
            ["image_url.detail"],
        ),
        ({"type": "input_image", "image_url": PNG, "detail": "high"}, {}, ["detail"]),
        (
            {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav", "rate": 8000}},
            {},
            ["input_audio.rate"],
        ),
        ({"type": "image_embeds", "image_embeds": "YQ==", "max_pixels": 4}, {}, ["max_pixels"]),
        ({"type": "video_embeds", "video_embeds": "YQ==", "fps": 4}, {"fps": 4}, []),
        (
            {"type": "image_url", "image_url": None, "uuid": "u", "max_pixels": 4},
            {"max_pixels": 4},
            [],
        ),
        (
            {
                "type": "text",
                "text": "x",
                "cache_control": {"type": "ephemeral"},
                "annotations": None,
            },
            None,
            ["cache_control"],
        ),
    ],
)
def test_a_parts_own_options(
    given: dict[str, Any], options: dict[str, Any] | None, told: list[str]
) -> None:
    media, names = part(given)
    assert names == [f"messages[0].content[0].{name}" for name in told]
    assert [dict(item.options) for item in media] == ([] if options is None else [options])


@pytest.mark.parametrize("value", ["5000", [1], {}, 1 << 70, float("inf")])
def test_an_option_is_a_number(value: Any) -> None:
    with pytest.raises(RequestError) as raised:
        read_chat(
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": PNG, "max_pixels": value}],
                }
            ]
        )
    assert raised.value.failure.part == "messages[0].content[0].max_pixels"


@pytest.mark.parametrize(
    ("format", "told"),
    [
        ({"type": "json_object", "schema": {"type": "object"}}, ["response_format.schema"]),
        ({"type": "text", "json_schema": {}}, ["response_format.json_schema"]),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}, []),
        (
            {"type": "json_schema", "json_schema": {"schema": {}, "schemas": 1}},
            ["response_format.json_schema.schemas"],
        ),
    ],
)
def test_a_response_format(format: dict[str, Any], told: list[str]) -> None:
    assert read({"messages": BODY["messages"][:1], "response_format": format})[1] == told


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "user", "content": "x", "nam": "ann"}, "did you mean 'name'"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": PNG, "max_pixel": 4}]},
            "did you mean 'max_pixels'",
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"ulr": PNG, "url": PNG}}],
            },
            "did you mean 'url'",
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "x", "image_url": PNG}]},
            "Unknown key 'image_url'",
        ),
    ],
)
def test_in_python_an_unknown_key_is_an_error(message: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read_chat([message])


async def test_the_header_names_paths() -> None:
    content = [
        {"type": "text", "text": "x", "y": 1},
        {"type": "image_url", "image_url": PNG, "max_pixels": 5000},
    ]
    client = FakeClient()
    async with served(client) as url:
        body = {"messages": [{"role": "user", "content": content}], "service_tier": "x"}
        status, _, headers = await post(url, "/v1/chat/completions", body)
    assert status == 200
    assert headers["X-Thespis-Ignored-Fields"] == "service_tier, messages[0].content[0].y"
    assert client.submitted[0][1][0].options == {"max_pixels": 5000}
    assert not isinstance(client.submitted[0][1][0].source, Url)
