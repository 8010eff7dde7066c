"""OpenAI's official client and LangChain on real processes, by `/v1/responses`: for the same
conversation they get the answer that a chat completion gets, with media, with tools, with pictures
in what these return, and with errors. What is kept is each key's own."""

import asyncio
import base64
import time
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pydantic
import pytest
from langchain_openai import ChatOpenAI

from ..helpers.media import data_url, picture, png, sound, wav
from ..helpers.serving import Server
from .faces import ALICE, BOB

pytestmark = pytest.mark.process

CHAT = "/v1/chat/completions"
PNG, OTHER = (data_url("image/png", png(picture(n))) for n in (5, 6))
HEARD = {
    "type": "input_audio",
    "input_audio": {"data": base64.b64encode(wav(sound(5))).decode(), "format": "wav"},
}
GREEDY: Any = {"model": "tiny", "temperature": 0, "max_output_tokens": 12}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def seen(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def user(*parts: Any) -> Any:
    return {"role": "user", "content": list(parts)}


def expected(server: Server, messages: list[Any], **more: Any) -> tuple[str, int]:
    """What a chat completion is answered, and the tokens of its prompt."""
    body = {"messages": messages, "max_tokens": 12, "temperature": 0, **more}
    reply = server.ask(CHAT, body)
    assert reply.status == 200, reply.body
    return reply.body["choices"][0]["message"]["content"], reply.body["usage"]["prompt_tokens"]


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return f"{server.url}/v1"


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=ALICE, max_retries=0, timeout=60) as client:
        yield client


QUESTION = user(text("What do you see"), seen(PNG), text("and hear?"), HEARD)


def test_S68_text_pictures_and_sounds(server: Server, api: openai.OpenAI) -> None:
    answer, tokens = expected(server, [{"role": "system", "content": "Be brief."}, QUESTION])
    asked: Any = {**GREEDY, "instructions": "Be brief.", "input": [QUESTION]}
    whole = api.responses.create(**asked)
    with api.responses.stream(**asked) as stream:
        events = list(stream)
    assert (
        "".join(one.delta for one in events if one.type == "response.output_text.delta") == answer
    )
    streamed = events[-1].response  # type: ignore[union-attr]
    for response in (whole, streamed):
        assert response.output_text == answer
        assert response.status == "incomplete"
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (tokens, 12)
    model, given = asked["model"], {"instructions": "Be brief.", "input": asked["input"]}
    assert api.responses.input_tokens.count(model=model, **given).input_tokens == tokens


def test_S68_a_conversation_goes_on_by_its_last_response(
    server: Server, api: openai.OpenAI
) -> None:
    first = api.responses.create(**GREEDY, input=[QUESTION])
    second = api.responses.create(
        **GREEDY, input=[user(text("And now?"), seen(OTHER))], previous_response_id=first.id
    )
    said = {"role": "assistant", "content": first.output_text}
    messages = [QUESTION, said, user(text("And now?"), seen(OTHER))]
    assert second.usage is not None
    assert (second.output_text, second.usage.input_tokens) == expected(server, messages)
    assert second.usage.input_tokens_details.cached_tokens > 0
    assert api.responses.retrieve(second.id) == second
    (item,) = api.responses.input_items.list(first.id).data
    named: Any = [{"type": "item_reference", "id": item.id}]
    assert api.responses.create(**GREEDY, input=named).output_text == first.output_text


def test_S68_S74_functions_are_called_and_may_answer_with_pictures(
    server: Server, api: openai.OpenAI
) -> None:
    asked: Any = {
        **GREEDY,
        "max_output_tokens": 200,
        "input": [QUESTION],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "get_weather"},
    }
    response = api.responses.create(**asked)
    (call,) = response.output
    assert call.type == "function_call"
    with api.responses.stream(**asked) as stream:
        (streamed,) = stream.get_final_response().output
    assert streamed.type == "function_call"
    assert (streamed.name, streamed.arguments) == (call.name, call.arguments)
    shown = [text("here"), seen(OTHER)]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": shown}
    resent = api.responses.create(**GREEDY, input=[QUESTION, call.to_dict(), result])
    kept = api.responses.create(**GREEDY, input=[result], previous_response_id=response.id)
    function = {"name": call.name, "arguments": call.arguments}
    calls = [{"id": call.call_id, "type": "function", "function": function}]
    told = {"role": "tool", "tool_call_id": call.call_id, "content": shown}
    messages = [QUESTION, {"role": "assistant", "tool_calls": calls}, told]
    answer, tokens = expected(server, messages)
    for found in (resent, kept):
        assert found.usage is not None
        assert (found.output_text, found.usage.input_tokens) == (answer, tokens)


def test_S68_an_answer_is_parsed(api: openai.OpenAI) -> None:
    class Weather(pydantic.BaseModel):
        city: Literal["Oslo", "Rome"]

    asked: Any = {**GREEDY, "max_output_tokens": 200}
    answer = api.responses.parse(**asked, input=[QUESTION], text_format=Weather)
    assert isinstance(answer.output_parsed, Weather)


def test_S68_errors_and_what_is_anothers(url: str, api: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as broken:
        api.responses.create(**GREEDY, input=[user(seen(data_url("image/png", b"none")))])
    assert broken.value.param == "input[0].content[0]"
    made = api.responses.create(**GREEDY, input="secret")
    with openai.OpenAI(base_url=url, api_key=BOB, max_retries=0) as bob:
        for ask in (bob.responses.retrieve, bob.responses.delete, bob.responses.input_items.list):
            with pytest.raises(openai.NotFoundError):
                ask(made.id)
        with pytest.raises(openai.NotFoundError):
            bob.responses.create(**GREEDY, input="?", previous_response_id=made.id)
    api.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        api.responses.retrieve(made.id)


async def test_S68_a_stream_that_is_left_ends_its_request(server: Server, url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key=ALICE, max_retries=0) as client:
        asked: Any = {**GREEDY, "max_output_tokens": 900, "extra_body": {"ignore_eos": True}}
        stream = await client.responses.create(**asked, input="Go on.", stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
    end = time.monotonic() + 30
    while (await asyncio.to_thread(server.ask, "/load", None)).body["server_load"]:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_S68_langchain(server: Server, url: str) -> None:
    answer, _ = expected(server, [user(text("What?"), {"type": "image_url", "image_url": PNG})])
    question: Any = [user(text("What?"), {"type": "image_url", "image_url": {"url": PNG}})]
    # LangChain's own is shared by all its chats, and stays connected in the loop of another test.
    async with openai.DefaultAsyncHttpxClient() as own:
        chat = ChatOpenAI(
            model="tiny", base_url=url, api_key=pydantic.SecretStr(ALICE), temperature=0,
            max_completion_tokens=12, use_responses_api=True, max_retries=0, http_async_client=own,
        )  # fmt: skip
        assert chat.invoke(question).text == answer
        assert "".join([chunk.text async for chunk in chat.astream(question)]) == answer
