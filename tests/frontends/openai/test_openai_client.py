"""The official `openai` package against the app: it works unchanged, sync and async, streamed and
not."""

import asyncio

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from .fake import TIMING, FakeClient, http_config, served

TEXT = "a red circle é!"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


def connect(url: str, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


async def test_a_chat_answer_has_text_finish_reason_and_usage() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        answer = await api.chat.completions.create(model="fake-model", messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
        answer.usage.total_tokens,
    ) == (3, 5, 8)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 2
    assert answer.usage.prompt_tokens_details.model_dump()["image_tokens"] == 4


async def test_a_streamed_chat_gives_role_first_then_text_then_the_reason_then_usage() -> None:
    client = FakeClient()
    client.pace = 0.002
    async with served(client) as url, connect(url) as api:
        stream = await api.chat.completions.create(
            model="fake-model", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({c.id for c in chunks}) == 1


async def test_the_sync_client_streams_too() -> None:
    async with served(FakeClient()) as url:

        def ask() -> str:
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as api:
                stream = api.chat.completions.create(
                    model="fake-model", messages=HELLO, stream=True
                )
                return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

        assert await asyncio.to_thread(ask) == TEXT


async def test_n_choices_are_told_apart() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        answer = await api.chat.completions.create(model="fake-model", messages=HELLO, n=3)
        stream = await api.chat.completions.create(
            model="fake-model", messages=HELLO, n=3, stream=True
        )
        texts = ["", "", ""]
        async for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [choice.message.content for choice in answer.choices] == [TEXT] * 3
    assert texts == [TEXT] * 3


async def test_chat_logprobs_have_tokens_bytes_and_alternatives() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        answer = await api.chat.completions.create(
            model="fake-model", messages=HELLO, logprobs=True, top_logprobs=2
        )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.content is not None
    assert [entry.token for entry in found.content] == ["a", " red", " circle", " é", "!"]
    assert found.content[3].bytes == list(" é".encode())
    assert [alternative.logprob for alternative in found.content[0].top_logprobs] == [-0.5, -9999.0]


async def test_streamed_logprobs_add_up_to_the_whole() -> None:
    client = FakeClient()
    client.pace = 0.002
    async with served(client) as url, connect(url) as api:
        stream = await api.chat.completions.create(
            model="fake-model", messages=HELLO, logprobs=True, stream=True
        )
        tokens = [
            entry.token
            async for chunk in stream
            if chunk.choices[0].logprobs is not None
            for entry in chunk.choices[0].logprobs.content or ()
        ]
    assert "".join(tokens) == TEXT


async def test_completions_of_several_prompts_number_their_choices() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        answer = await api.completions.create(
            model="fake-model", prompt=["one", "two"], n=2, max_tokens=2
        )
        stream = await api.completions.create(
            model="fake-model", prompt=["one", "two"], n=2, max_tokens=2, stream=True
        )
        texts = [""] * 4
        async for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].text
    assert [(c.index, c.text, c.finish_reason) for c in answer.choices] == [
        (i, "a red", "length") for i in range(4)
    ]
    assert texts == ["a red"] * 4
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 8)


async def test_echo_with_logprobs_scores_the_prompt() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        answer = await api.completions.create(
            model="fake-model", prompt="say", echo=True, logprobs=1, max_tokens=1
        )
    choice = answer.choices[0]
    assert choice.text == "saya"
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    assert choice.logprobs.tokens[1:] == ["p6", "p7", "a"]
    assert choice.logprobs.token_logprobs is not None
    assert choice.logprobs.token_logprobs[0] is None
    assert choice.logprobs.text_offset is not None
    assert choice.logprobs.text_offset[-1] == 3


async def test_return_token_ids_and_timings_on_request() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        extra = {"return_token_ids": True, "return_timings": True}
        answer = await api.chat.completions.create(
            model="fake-model", messages=HELLO, extra_body=extra
        )
        stream = await api.chat.completions.create(
            model="fake-model", messages=HELLO, extra_body=extra, stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert answer.model_extra is not None
    assert answer.model_extra["prompt_token_ids"] == [5, 6, 7]
    assert answer.choices[0].model_extra is not None
    assert answer.choices[0].model_extra["token_ids"] == [0, 1, 2, 3, 4]
    (timing,) = answer.model_extra["timings"]
    assert (timing["stage"], timing["detail"]) == (TIMING.stage, TIMING.detail)
    assert timing["end"] - timing["start"] == pytest.approx(0.5)
    assert chunks[0].model_extra is not None
    assert chunks[0].model_extra["prompt_token_ids"] == [5, 6, 7]
    ids = [
        id
        for c in chunks
        for choice in c.choices
        for id in (choice.model_extra or {}).get("token_ids", [])
    ]
    assert ids == [0, 1, 2, 3, 4]
    assert chunks[-1].model_extra is not None
    assert chunks[-1].model_extra["timings"][0]["stage"] == "prefill"


async def test_models_are_listed() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        listed = [model.id async for model in api.models.list()]
        one = await api.models.retrieve("fake-model")
    assert listed == ["fake-model"]
    assert one.model_extra == {"max_model_len": 256, "dtype": "float32"}


async def test_errors_become_the_clients_own_exceptions() -> None:
    client = FakeClient()
    async with served(client, http_config(api_key=("sesame",))) as url:
        async with connect(url, "sesame") as api:
            with pytest.raises(openai.NotFoundError):
                await api.chat.completions.create(model="another", messages=HELLO)
            with pytest.raises(openai.BadRequestError) as bad:
                await api.chat.completions.create(
                    model="fake-model", messages=HELLO, temperature=-1
                )
            assert bad.value.param == "temperature"
        async with connect(url, "wrong") as api:
            with pytest.raises(openai.AuthenticationError):
                await api.chat.completions.create(model="fake-model", messages=HELLO)


async def test_an_error_inside_a_stream_is_raised_after_the_text() -> None:
    client = FakeClient()
    client.pace, client.fail_after = 0.002, 2
    async with served(client) as url, connect(url) as api:
        stream = await api.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
        texts: list[str] = []

        async def read() -> None:
            async for chunk in stream:
                texts.append(chunk.choices[0].delta.content or "")

        with pytest.raises(openai.APIError, match="A part was restarted"):
            await read()
    assert "".join(texts) == "a red"


async def test_a_stream_that_fails_before_its_first_token_has_a_status() -> None:
    client = FakeClient()
    client.fail_after = 0
    async with served(client) as url, connect(url) as api:
        with pytest.raises(openai.InternalServerError) as raised:
            await api.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
    assert raised.value.status_code == 503
