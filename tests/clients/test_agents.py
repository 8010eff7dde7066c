"""The Agents SDK of OpenAI, by /v1/responses and by chat completions: pictures, streams, tools that
answer with pictures, classes, errors, and a run that is left."""

from collections.abc import AsyncIterator
from typing import Any, Literal

import agents
import openai
import pytest

from . import asked
from .asked import ANSWER, DATA, MODEL, QUESTION, Weather

PARTS: Any = [
    {"type": "input_image", "image_url": DATA, "detail": "auto"},
    {"type": "input_text", "text": QUESTION},
]
SEEN: Any = [{"role": "user", "content": PARTS}]
GREEDY = agents.ModelSettings(temperature=0, max_tokens=400)


@pytest.fixture(params=["OpenAIResponsesModel", "OpenAIChatCompletionsModel"])
async def model(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Any]:
    agents.set_tracing_disabled(True)
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield getattr(agents, request.param)(MODEL, client)


async def test_agents_see_and_stream(model: Any) -> None:
    agent = agents.Agent(name="a", model=model, model_settings=GREEDY)
    result = await agents.Runner.run(agent, SEEN)
    assert result.final_output == ANSWER
    streamed = agents.Runner.run_streamed(agent, SEEN)
    told = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(told) == streamed.final_output == ANSWER
    more = [*result.to_input_list(), {"role": "user", "content": QUESTION}]
    assert (await agents.Runner.run(agent, more)).final_output
    if isinstance(model, agents.OpenAIResponsesModel):
        last = result.last_response_id
        assert (await agents.Runner.run(agent, QUESTION, previous_response_id=last)).final_output


async def test_agents_run_tools_and_fill_classes(model: Any) -> None:
    ran: list[str] = []

    def get_weather(city: Literal["Oslo", "Rome"]) -> Any:
        """The weather in a city."""
        ran.append(city)
        if isinstance(model, agents.OpenAIResponsesModel):
            return [agents.ToolOutputImage(image_url=DATA), agents.ToolOutputText(text=city)]
        return f"rain in {city}"

    tools = [agents.function_tool(get_weather)]
    forced = agents.ModelSettings(
        temperature=0, max_tokens=400, tool_choice="required", parallel_tool_calls=False
    )
    agent = agents.Agent(
        name="a", instructions="Be brief.", model=model, tools=tools, model_settings=forced
    )
    result = await agents.Runner.run(agent, QUESTION)
    assert len(ran) == 1
    assert result.final_output is not None  # it may say nothing to what the tool told
    streamed = agents.Runner.run_streamed(agent, QUESTION)
    async for _ in streamed.stream_events():
        pass
    assert len(ran) == 2
    filling = agents.Agent(name="a", model=model, model_settings=GREEDY, output_type=Weather)
    assert isinstance((await agents.Runner.run(filling, QUESTION)).final_output, Weather)


async def test_agents_are_told_of_errors(model: Any) -> None:
    agent = agents.Agent(name="a", model=model, model_settings=GREEDY)
    broken: Any = [{**PARTS[0], "image_url": "data:image/png;base64,bm9uZQ=="}]
    with pytest.raises(openai.UnprocessableEntityError, match="picture"):
        await agents.Runner.run(agent, [{"role": "user", "content": broken}])
    streamed = agents.Runner.run_streamed(agent, [{"role": "user", "content": broken}])
    with pytest.raises(openai.UnprocessableEntityError):
        [event async for event in streamed.stream_events()]


async def test_agents_are_left_half_way(model: Any, url: str) -> None:
    endless = agents.ModelSettings(max_tokens=900, extra_body=asked.ENDLESS)
    agent = agents.Agent(name="a", model=model, model_settings=endless)
    streamed = agents.Runner.run_streamed(agent, QUESTION)
    async with asked.cancelled(url):
        async for event in streamed.stream_events():
            if event.type == "raw_response_event" and "delta" in event.data.type:
                streamed.cancel()
                break
