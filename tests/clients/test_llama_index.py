"""LlamaIndex at chat completions, /v1/responses and vectors: media, streams, tools, errors, and a
stream that is left."""

from typing import Any

import openai
import pytest
from llama_index.core.llms import AudioBlock, ChatMessage, ImageBlock, TextBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai import OpenAIResponses
from llama_index.llms.openai_like import OpenAILike

from . import asked
from .asked import ANSWER, HEARD_ANSWER, MODEL, QUESTION


def seen(picture: bytes | None = None) -> list[Any]:
    given = picture or asked.PICTURE.read_bytes()
    blocks = [ImageBlock(image=given, image_mimetype="image/png"), TextBlock(text=QUESTION)]
    return [ChatMessage(role="user", blocks=blocks)]


def like(url: str, **more: Any) -> Any:
    return OpenAILike(
        **{"temperature": 0, "max_tokens": 32, **more},
        model=MODEL,
        api_base=url,
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
    )


async def test_llama_index(url: str) -> None:
    model = like(url)
    assert model.chat(seen()).message.content == ANSWER
    stream = await model.astream_chat(seen())
    assert "".join([part.delta or "" async for part in stream]) == ANSWER
    blocks = [
        AudioBlock(audio=asked.SOUND.read_bytes(), format="wav"),
        TextBlock(text=asked.HEARD_QUESTION),
    ]
    assert model.chat([ChatMessage(role="user", blocks=blocks)]).message.content == HEARD_ANSWER
    with pytest.raises(openai.UnprocessableEntityError):
        model.chat(seen(b"\x89PNG\r\n\x1a\nnone"))
    endless = like(url, max_tokens=900, additional_kwargs={"extra_body": asked.ENDLESS})
    left = await endless.astream_chat(seen())
    await asked.left_half_way(left, url)


def test_llama_index_fills_classes_and_calls_tools(url: str) -> None:
    model = like(url, max_tokens=400, temperature=0.1)
    template = PromptTemplate("What is the weather in {city}?")
    answer = model.structured_predict(asked.Forecast, template, city="Oslo")
    assert isinstance(answer, asked.Forecast)
    tools = [FunctionTool.from_defaults(asked.get_weather)]
    how = {"tool_required": True, "allow_parallel_tool_calls": False}
    *_, last = model.stream_chat_with_tools(tools, QUESTION, **how)
    (selection,) = model.get_tool_calls_from_response(last)
    assert selection.tool_kwargs["city"] in ("Oslo", "Rome")
    whole = model.chat_with_tools(tools, QUESTION, **how)
    assert model.get_tool_calls_from_response(whole)[0].tool_name == "get_weather"


def test_llama_index_responses(url: str) -> None:
    model = OpenAIResponses(
        model=MODEL,
        api_base=url,
        api_key="none",
        temperature=0,
        max_output_tokens=32,
        context_window=2048,
        max_retries=0,
    )
    assert model.chat(seen()).message.content == ANSWER
    assert "".join(part.delta or "" for part in model.stream_chat(seen())) == ANSWER
    with pytest.raises(openai.UnprocessableEntityError):
        model.chat(seen(b"\x89PNG\r\n\x1a\nnone"))


def test_llama_index_vectors(vectors: str) -> None:
    made = OpenAILikeEmbedding(model_name=MODEL, api_base=vectors, api_key="none", max_retries=0)
    one, other = made.get_text_embedding_batch(["a red circle", "a sound"])
    assert len(one) == len(other)
    assert one != other
