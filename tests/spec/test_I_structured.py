"""S51's constraints, S52's tools and S43's templates, on the real processes.

The model is a random one: that its answers parse and fit says that they are held to it, whatever
the weights want.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pydantic
import pytest

from thespis import LLM, SamplingParams, StructuredOutputsParams

from ..helpers.bodies import SECRETS
from ..helpers.engines import Spectator
from ..helpers.serving import Server
from .faces import ALICE, Face, ask, refusal
from .troupe import Troupe

pytestmark = pytest.mark.process


class Fruit(pydantic.BaseModel):
    """With a definition of its own, as SDKs send it."""

    class Origin(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        sea: bool

    model_config = pydantic.ConfigDict(extra="forbid")
    name: str = pydantic.Field(max_length=6)
    weight: int = pydantic.Field(ge=0, le=500)
    origin: Origin


FRUIT = Fruit.model_json_schema()
LONG: dict[str, Any] = {"max_tokens": 600}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Oslo", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
FRUIT_TOOL: Any = {"type": "function", "function": {"name": "keep_fruit", "parameters": FRUIT}}
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=ALICE, max_retries=0, timeout=60
    ) as api:
        yield api


def pids(server: Server) -> dict[str, int]:
    with Spectator(server.run_dir) as looker:
        return {
            role: pid for role, pid in looker.status().pids.items() if not role.startswith("client")
        }


# S51: structured outputs


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_S51_json_schema(face: Face, temperature: float) -> None:
    answer = ask(
        face, "a fruit", structured_outputs={"json": FRUIT}, temperature=temperature, seed=3, **LONG
    )
    assert answer.finish_reason == "stop"
    jsonschema.validate(json.loads(answer.text), FRUIT)


def test_S51_regex_choice_and_grammar(face: Face) -> None:
    pattern = r"(red|blue) [0-9]{3}/[a-f]"
    assert re.fullmatch(pattern, ask(face, "x", structured_outputs={"regex": pattern}, **LONG).text)
    assert ask(face, "x", structured_outputs={"choice": ["yes", "no"]}, **LONG).text in (
        "yes",
        "no",
    )
    lark = 'start: "<" NUMBER ("," NUMBER){2} ">"\nNUMBER: /[1-9][0-9]?/'
    assert re.fullmatch(
        r"<\d+,\d+,\d+>", ask(face, "x", structured_outputs={"grammar": lark}, **LONG).text
    )
    bounded = {"regex": r"\b(cat|dog)s?\b (?!0)\d{2}$"}
    assert re.fullmatch(
        r"(cat|dog)s? [1-9]\d", ask(face, "x", structured_outputs=bounded, **LONG).text
    )
    gbnf = 'root ::= "a" ("b" | "c") [0-9]'
    assert re.fullmatch(
        "a[bc][0-9]", ask(face, "x", structured_outputs={"grammar": gbnf}, **LONG).text
    )


def test_S51_json_object_is_an_object_as_far_as_it_goes(face: Face) -> None:
    answer = ask(face, "x", structured_outputs={"json_object": True}, max_tokens=40)
    assert answer.text.lstrip().startswith("{")
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(answer.text), dict)


def test_S51_every_choice_of_n_is_guided_and_others_are_not(llm: LLM) -> None:
    guided = SamplingParams(
        n=4, seed=1, max_tokens=200, structured_outputs=StructuredOutputsParams(regex="[a-d]{5}")
    )
    free = SamplingParams(temperature=0.0, max_tokens=20)
    alone = llm.generate("one two", free, use_tqdm=False)[0].outputs[0].token_ids
    first, second = llm.generate(["x", "one two"], [guided, free], use_tqdm=False)
    texts = [output.text for output in first.outputs]
    assert all(re.fullmatch("[a-d]{5}", text) for text in texts)
    assert len(set(texts)) > 1
    assert second.outputs[0].token_ids == alone


@pytest.mark.parametrize("troupe", ["qwen_omni"], indirect=True)
def test_S51_a_guide_survives_preemption(troupe: Troupe) -> None:
    """Too few blocks for all: sequences give way and come back, their matchers rebuilt from their
    output."""
    schema = {
        "type": "array",
        "items": {"type": "integer", "minimum": 100, "maximum": 999},
        "minItems": 12,
        "maxItems": 12,
    }
    guide: Any = {"json": schema}
    params = [SamplingParams(seed=i, max_tokens=200, structured_outputs=guide) for i in range(16)]
    outputs = troupe.llm.generate(["count"] * 16, params, use_tqdm=False)
    for output in outputs:
        if output.outputs[0].finish_reason == "stop":
            jsonschema.validate(json.loads(output.outputs[0].text), schema)
    assert any(output.outputs[0].finish_reason == "stop" for output in outputs)
    assert sum(output.metrics.preemptions for output in outputs) > 0


@pytest.mark.parametrize(
    ("outputs", "word"),
    [
        ({"json": {"type": "objekt"}}, "objekt"),
        ({"json": {"type": "array", "unevaluatedItems": False}}, "unevaluatedItems"),
        ({"json": {"$ref": "#/$defs/nowhere"}}, "definition"),
        ({"json": {"type": "string", "pattern": "(?<=a)b"}}, "look-behind"),
        (
            {"json": {"properties": {"tags": {"uniqueItems": True}}}},
            "`uniqueItems`, which is not supported, at `#/properties/tags`",
        ),
        ({"json": {"enum": []}}, "no value"),
        ({"regex": "(a"}, "regular expression"),
        ({"regex": r"line\n(\w)\1"}, "back-reference, which is not supported, at its character 11"),
        ({"regex": "(a{1000}){1000}"}, "memory"),
        ({"grammar": "start: nowhere"}, "nowhere"),
        ({"grammar": "this is none"}, "neither"),
        ({"regex": "(" * 200 + ")" * 200}, "deeper"),
        ({"regex": "a" * 200_000}, "characters"),
    ],
)
def test_S51_a_bad_guide_is_a_400_and_nobody_notices(
    server: Server, any_face: Face, outputs: dict[str, Any], word: str
) -> None:
    before = pids(server)
    refused = refusal(any_face, "x", structured_outputs=outputs, **LONG)
    assert refused.status == 400
    assert word in refused.text
    assert refused.code in ("invalid_grammar", "out_of_range")
    assert refused.part == "structured_outputs" or "structured_outputs" in refused.text
    assert not SECRETS.search(refused.text.replace("<state>", " object at 0x0"))
    assert pids(server) == before
    assert ask(any_face, "x", structured_outputs={"choice": ["ok"]}).text == "ok"


def test_S51_constraints_that_exclude_each_other_are_a_400(face: Face) -> None:
    refused = refusal(face, "x", structured_outputs={"choice": ["a"]}, bad_words=["a"])
    assert (refused.status, refused.code) == (400, "dead_end")


def test_S51_older_names_and_response_format_over_http(server: Server) -> None:
    def said(**body: Any) -> str:
        reply = server.chat("x", **{**LONG, **body})
        assert reply.status == 200, reply.body
        return str(reply.body["choices"][0]["message"]["content"])

    jsonschema.validate(json.loads(said(guided_json=FRUIT)), FRUIT)
    jsonschema.validate(json.loads(said(guided_json=json.dumps(FRUIT))), FRUIT)
    assert re.fullmatch("[xy]{3}", said(guided_regex="[xy]{3}"))
    assert said(guided_choice=["only"]) == "only"
    assert said(guided_grammar='start: "g" "h"') == "gh"
    form = {
        "type": "json_schema",
        "json_schema": {"name": "fruit", "strict": True, "schema": FRUIT},
    }
    jsonschema.validate(json.loads(said(response_format=form)), FRUIT)
    assert said(response_format={"type": "json_object"}, max_tokens=20).lstrip().startswith("{")
    assert said(response_format={"type": "text"}, max_tokens=3) == said(max_tokens=3)
    reply = server.ask(
        "/v1/completions", {"prompt": "x", "guided_choice": ["only"], "max_tokens": 50}
    )
    assert reply.body["choices"][0]["text"] == "only"


def test_S51_the_openai_client_parses_into_a_model(api: openai.OpenAI) -> None:
    parsed = api.chat.completions.parse(
        model="tiny", messages=HELLO, response_format=Fruit, max_tokens=600
    )
    assert isinstance(parsed.choices[0].message.parsed, Fruit)
    with api.chat.completions.stream(
        model="tiny", messages=HELLO, response_format=Fruit, max_tokens=600
    ) as stream:
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Fruit)


def test_S51_bad_words_do_not_come(face: Face) -> None:
    free = ask(face, "say something", max_tokens=24).text
    word = max(re.findall(r"[ -~]+", free), key=len)[:3]
    assert word.strip()
    kept = ask(face, "say something", max_tokens=24, bad_words=[word])
    assert word in free
    assert word not in kept.text


# S52: tools


def test_S52_required_calls_fit_their_schemas(api: openai.OpenAI) -> None:
    seen = set()
    for seed in range(6):
        answer = api.chat.completions.create(
            model="tiny", messages=HELLO, tools=[WEATHER, FRUIT_TOOL], tool_choice="required",
            parallel_tool_calls=False,
            max_tokens=600, seed=seed,
        )  # fmt: skip
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.choices[0].message.content is None
        calls = answer.choices[0].message.tool_calls or []
        assert len(calls) == 1
        call = calls[0]
        assert call.type == "function"
        schema = FRUIT if call.function.name == "keep_fruit" else WEATHER["function"]["parameters"]
        jsonschema.validate(json.loads(call.function.arguments), schema)
        seen.add(call.function.name)
    assert seen <= {"get_weather", "keep_fruit"}


def test_S52_a_tool_without_parameters_is_called_with_none(api: openai.OpenAI) -> None:
    for function in (
        {"name": "now"},
        {"name": "now", "parameters": None},
        {"name": "now", "parameters": {"type": "object"}},
    ):
        asked: Any = {
            "messages": HELLO,
            "tools": [{"type": "function", "function": function}],
            "tool_choice": "required",
        }
        answer = api.chat.completions.create(
            model="tiny", parallel_tool_calls=False, max_tokens=100, **asked
        )
        calls = answer.choices[0].message.tool_calls or []
        assert [
            json.loads(call.function.arguments) for call in calls if call.type == "function"
        ] == [{}]


def test_S52_the_tool_whose_schema_is_wrong_is_named(server: Server) -> None:
    tool = {
        "type": "function",
        "function": {"name": "bad_one", "parameters": {"properties": {"a": {"not": {"const": 1}}}}},
    }
    reply = server.chat("x", tools=[WEATHER, tool], tool_choice="required")
    assert (reply.status, reply.body["error"]["code"]) == (400, "invalid_grammar")
    assert reply.body["error"]["param"] == "tools"
    for word in ("`bad_one`", "`not`", "`#/properties/a`"):
        assert word in reply.body["error"]["message"]


def test_S52_a_named_function_is_called_and_streamed(api: openai.OpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": HELLO,
        "tools": [WEATHER, FRUIT_TOOL],
        "tool_choice": choice,
    }
    asked |= {"parallel_tool_calls": False, "max_tokens": 600, "temperature": 0}
    whole = api.chat.completions.create(**asked).choices[0].message.tool_calls
    assert whole
    chunks = [chunk.choices[0] for chunk in api.chat.completions.create(**asked, stream=True)]
    deltas = [delta for chunk in chunks for delta in chunk.delta.tool_calls or ()]
    assert [
        (d.index, d.type, d.function.name, d.function.arguments) for d in deltas[:1] if d.function
    ] == [(0, "function", "get_weather", "")]
    assert deltas[0].id
    assert len(deltas) > 2
    assert all(not d.id and d.function and not d.function.name for d in deltas[1:])
    text = "".join(d.function.arguments or "" for d in deltas[1:] if d.function)
    assert text == whole[0].function.arguments
    assert chunks[-1].finish_reason == "tool_calls"
    assert not any(chunk.delta.content for chunk in chunks)


def test_S52_parallel_calls_have_indices_and_ids(api: openai.OpenAI) -> None:
    """Until the tokens are over; whole calls come first."""
    answer = api.chat.completions.create(
        model="tiny",
        messages=HELLO,
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=700,
        seed=5,
    )
    calls = answer.choices[0].message.tool_calls or ()
    assert calls
    assert len({call.id for call in calls}) == len(calls)
    for call in calls[: len(calls) - (answer.choices[0].finish_reason == "length")]:
        assert call.type == "function"
        jsonschema.validate(json.loads(call.function.arguments), WEATHER["function"]["parameters"])


def test_S52_a_text_answer_with_tools_stays_text(server: Server) -> None:
    reply = server.chat("hello", tools=[WEATHER], max_tokens=12)
    message = reply.body["choices"][0]["message"]
    assert "tool_calls" not in message
    assert isinstance(message["content"], str)
    assert reply.body["choices"][0]["finish_reason"] in ("stop", "length")
    without = server.chat("hello", max_tokens=12).body
    forbidden = server.chat("hello", tools=[WEATHER], tool_choice="none", max_tokens=12).body
    assert (forbidden["choices"], forbidden["usage"]["prompt_tokens"]) == (
        without["choices"],
        without["usage"]["prompt_tokens"],
    )


def test_S52_a_conversation_goes_on_behind_a_call(api: openai.OpenAI) -> None:
    call: Any = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
    }
    messages: Any = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    answer = api.chat.completions.create(
        model="tiny", messages=messages, tools=[WEATHER], max_tokens=5
    )
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_S52_with_a_format_the_answer_is_a_call_or_fits(api: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "fruit", "schema": FRUIT}}
    answer = api.chat.completions.create(
        model="tiny",
        messages=HELLO,
        tools=[WEATHER],
        response_format=form,
        max_tokens=600,
        parallel_tool_calls=False,
    )
    message = answer.choices[0].message
    if message.tool_calls:
        assert answer.choices[0].finish_reason == "tool_calls"
    else:
        jsonschema.validate(json.loads(message.content or ""), FRUIT)


# S43 and the json style: an engine with other options


ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = b %}{% endfor %}{% endfor %}"
)

HUNGRY = (
    "{% set n = namespace(x='x' * 999999) %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% "
    "endfor %}{{ n.x }}"
)
"""Each step takes twice the memory of the one before."""


def test_S43_a_template_in_the_request_is_refused(server: Server) -> None:
    """Over HTTP. A Python caller owns its engine: what it gives to `chat` is its own business
    (S24)."""
    template = "{{ messages[0].content }}"
    for reply in (
        server.chat("x", chat_template=template),
        server.ask("/tokenize", {"messages": HELLO, "chat_template": template}),
    ):
        assert reply.status == 400
        assert "--trust-request-chat-template" in reply.body["error"]["message"]


def test_S43_a_trusted_template_renders_in_a_sandbox_with_a_time_limit(ruled: Server) -> None:
    before = pids(ruled)
    assert ruled.chat("abc", chat_template="{{ messages[0].content }}!").status == 200
    for template, word in (
        (ENDLESS, "too long"),
        ("{{ 'x' * 10 ** 10 }}", "cannot render"),
        (HUNGRY, "too much memory"),
        ("{{ '%1000000000d'|format(1) }}", "too much memory"),
        ("{{ 'x'|center(1000000000) }}", "too much memory"),
        ("{{ {'a': 1}|tojson(indent=1000000000) }}", "too much memory"),
        ("{{ 'x' * 1000000 }}{{ 'x' * 1000000 }}", "the model's context is"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot render"),
        ("{% for %}", "no valid Jinja template"),
    ):
        reply = ruled.chat("abc", chat_template=template)
        assert (reply.status, word in reply.body["error"]["message"]) == (400, True), (
            template[:80],
            reply.body,
        )
    for number in range(3):
        hungry = {"messages": HELLO, "chat_template": f"{{{{ '%{10**9 + number}d'|format(1) }}}}"}
        reply = ruled.ask("/tokenize", hungry)
        assert (reply.status, "too much memory" in reply.body["error"]["message"]) == (400, True), (
            reply.body
        )
    mine = {"messages": HELLO, "chat_template": "{{ messages[0].content }}!"}
    assert ruled.ask("/tokenize", mine).status == 200
    assert ruled.chat("abc").status == 200
    assert pids(ruled) == before
    most = re.search(
        r"VmHWM:\s+(\d+) kB", Path(f"/proc/{before['preprocessor']}/status").read_text()
    )
    assert most is not None
    assert int(most[1]) < 1 << 20, "KiB that the renderer's process has ever held"


def test_S52_the_json_style_is_forced_and_parsed(ruled: Server) -> None:
    reply = ruled.chat(
        "x", tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, **LONG
    )
    (call,) = reply.body["choices"][0]["message"]["tool_calls"]
    jsonschema.validate(
        json.loads(call["function"]["arguments"]), WEATHER["function"]["parameters"]
    )
    assert reply.body["choices"][0]["finish_reason"] == "tool_calls"


def test_S51_a_guide_survives_the_death_of_the_runner(ruled: Server) -> None:
    pattern = "[0-9]{3}(,[a-f]{3}){120}"
    before = pids(ruled)["gpu-runner"]
    text = ""
    with openai.OpenAI(
        base_url=f"{ruled.url}/v1", api_key="none", max_retries=0, timeout=90
    ) as api:
        stream = api.chat.completions.create(
            model="tiny",
            messages=HELLO,
            stream=True,
            seed=4,
            max_tokens=900,
            extra_body={"guided_regex": pattern},
        )
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if before and len(text) > 20:
                os.kill(before, signal.SIGKILL)
                before = 0
    assert not before
    assert re.fullmatch(pattern, text)
