"""What is wrong with a body of Anthropic's is said with its place."""

from typing import Any

from ..fake import FakeClient, post, served

ASKED: dict[str, Any] = {"max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}


def with_blocks(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}, {"role": role, "content": [*blocks]}]}


def source(**fields: Any) -> dict[str, Any]:
    return with_blocks({"type": "image", "source": fields})


def document(**fields: Any) -> dict[str, Any]:
    return with_blocks({"type": "document", "source": fields})


AT = "messages[1].content[0]"
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "Hm", "signature": ""}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens: "),
    ({"max_tokens": 0}, "max_tokens must be"),
    ({"max_tokens": "4"}, "max_tokens: "),
    ({"messages": []}, "messages: There must be"),
    ({"messages": [{"role": "user"}]}, "messages[0].content: This field"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role: "),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content: "),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content: It is empty"),
    ({"system": [{"type": "image"}]}, "system[0].type: Here blocks may"),
    ({"system": 3}, "system: "),
    ({"stop_sequences": [""]}, "stop_sequences must not"),
    ({"top_p": 7}, "top_p must be"),
    (with_blocks("x"), f"{AT}: A block must"),
    (with_blocks({}), f"{AT}.type: This field"),
    (with_blocks({"type": "hologram"}), f"{AT}.type: Unknown type"),
    (with_blocks({"type": "text"}), f"{AT}.text: This field"),
    (with_blocks({"type": "text", "text": 3}), f"{AT}.text: Expected str"),
    (with_blocks({"type": "image"}), f"{AT}.source: Expected an object"),
    (source(type="base64"), f"{AT}.source.data: This field"),
    (source(type="base64", data="!!!"), f"{AT}: The data is not valid base64"),
    (source(type="base64", data=""), f"{AT}: The data is empty"),
    (source(type="url", url="nowhere"), f"{AT}: The URL must"),
    (source(type="hologram"), f"{AT}.source.type: "),
    (document(type="text", data=3), f"{AT}.source.data: Expected str"),
    (document(type="content", content=3), f"{AT}.source.content: "),
    (with_blocks({"type": "tool_result"}), f"{AT}.tool_use_id: This field"),
    (
        with_blocks({"type": "tool_result", "tool_use_id": "t", "is_error": 1}),
        f"{AT}.is_error: Expected bool",
    ),
    (
        with_blocks({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "x"}]}),
        f"{AT}.content[0].type: Unknown",
    ),
    (with_blocks(USE, role="assistant"), "messages[1]: A tool_use is answered"),
    (with_blocks(role="assistant"), "messages[1].content: The answer goes on from"),
    (with_blocks(THOUGHT, role="assistant"), "messages[1].content: The answer goes on from"),
    (with_blocks({**USE, "input": "x"}, role="assistant"), f"{AT}.input: Expected an object"),
    (with_blocks({**USE, "input": {"a": 1 << 70}}, role="assistant"), f"{AT}.input: It holds"),
    ({"tools": [{"name": "f"}]}, "tools[0].input_schema: This field"),
    ({"tools": [{"name": "f", "input_schema": 3}]}, "tools[0].input_schema: Expected a JSON"),
    ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name: A name has"),
    ({"tools": [{"name": "a" * 129, "input_schema": {}}]}, "tools[0].name: A name has"),
    ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools[0].type: Tools that a"),
    ({"tool_choice": {"type": "any"}}, "tool_choice: It needs `tools`"),
    ({"tool_choice": {"type": "maybe"}}, "tool_choice.type: The types"),
    ({"tool_choice": {"type": []}}, "tool_choice.type: The types"),
    (
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": 3}},
        "tool_choice.disable_parallel_tool_use: Expected bool",
    ),
    (
        {
            "tools": [{"name": "f", "input_schema": {}}],
            "tool_choice": {"type": "tool", "name": "g"},
        },
        "tool_choice.name: No tool",
    ),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format: It needs"),
    ({"output_config": {"format": {"type": "yaml"}}}, "output_config.format.type: "),
    ({"output_format": {"type": "yaml"}}, "output_format.type: "),
    ({"mcp_servers": [{"url": "https://host"}]}, "mcp_servers: `mcp_servers` is not"),
    ({"thinking": {"type": "hard"}}, "thinking.type: The types"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: This field"),
    ({"thinking": {"type": "enabled", "budget_tokens": True}}, "thinking.budget_tokens: Expected"),
    ({"output_config": {"effort": 3}}, "output_config.effort: Expected"),
    ({"max_new_tokens": 3}, "max_new_tokens: This field is not known"),
    ({"model": "other"}, "model: There is no model"),
]


async def test_what_is_wrong_is_said_with_its_place() -> None:
    client = FakeClient()
    async with served(client) as url:
        for change, told in WRONG:
            status, body, _ = await post(url, "/v1/messages", {**ASKED, **change})
            assert status in (400, 404), change
            assert body["error"]["message"].startswith(told), (change, body)
    assert client.submitted == []


async def test_what_has_no_effect_is_told() -> None:
    asked = {
        **ASKED,
        "service_tier": "auto",
        "metadata": {"user_id": "a", "other": 1},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi", "citations": []}]}
        ],
        "output_config": {"effort": "high"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    async with served(FakeClient()) as url:
        status, _, headers = await post(url, "/v1/messages", asked)
    assert status == 200
    assert set(headers["X-Thespis-Ignored-Fields"].split(", ")) == {
        "service_tier",
        "metadata.other",
        "messages[0].content[0].citations",
        "output_config.effort",
        "thinking",
    }
