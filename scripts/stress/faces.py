"""The three faces of the engine: each puts a request and writes down what comes."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

import aiohttp

from thespis import LLM, AsyncLLM
from thespis.protocol.errors import EngineError, RequestError

from .history import LEFT, Ended, Record, Said, Way
from .pool import Ask

HUNG_SECONDS = 90.0
BROKEN = "frontend"
"""The connection ended without an end of the answer."""


class Face(Protocol):
    name: str
    ways: tuple[Way, ...]
    """In which its callers can leave."""

    async def put(self, ask: Ask, record: Record) -> None:
        """Write what comes into `record`, its end included; a deadline is the face's to set,
        hanging up is `observe`'s."""

    def held(self) -> dict[str, float]:
        """What the client in this process holds of requests."""


async def observe(face: Face, ask: Ask, record: Record) -> None:
    """Put the request, and go away from it when that is meant; what hangs is given up."""
    going = record.leave is not None and record.leave.way == "going"
    seconds = (
        record.leave.time - time.monotonic() if record.leave is not None and going else HUNG_SECONDS
    )
    try:
        async with asyncio.timeout(seconds):
            await face.put(ask, record)
    except TimeoutError:
        if not record.ended:
            record.ended.append(Ended(time.monotonic(), LEFT["going"] if going else "hung"))


class AsyncFace:
    name = "AsyncLLM"
    ways: tuple[Way, ...] = ("going", "deadline")

    def __init__(self, llm: AsyncLLM, media_url: str) -> None:
        self._llm, self._media_url = llm, media_url

    async def put(self, ask: Ask, record: Record) -> None:
        error, leave = None, record.leave
        by_deadline = leave is not None and leave.way == "deadline"
        deadline = (
            time.time() + leave.time - time.monotonic()
            if leave is not None and by_deadline
            else None
        )
        try:
            async for delta in self._llm.stream(
                ask.messages(self._media_url), ask.sampling, deadline=deadline
            ):
                tokens, scores = tuple(delta.token_ids), len(delta.logprobs or ())
                record.said.append(
                    Said(
                        time.monotonic(),
                        delta.index,
                        tokens,
                        delta.text,
                        scores,
                        delta.finish_reason,
                    )
                )
        except RequestError as failure:
            error = failure.failure.code or failure.failure.kind
        except EngineError:
            error = "engine"
        record.ended.append(Ended(time.monotonic(), error))

    def held(self) -> dict[str, float]:
        assert self._llm._client is not None
        return self._llm._client.counters()


class LlmFace:
    """Blocking calls, each from a thread of its own; an answer comes whole, and nobody leaves."""

    name = "LLM"
    ways: tuple[Way, ...] = ()

    def __init__(self, llm: LLM, media_url: str, threads: int) -> None:
        self._llm, self._media_url = llm, media_url
        self._threads = ThreadPoolExecutor(threads)

    async def put(self, ask: Ask, record: Record) -> None:
        def call() -> Any:
            return self._llm.chat(ask.messages(self._media_url), ask.sampling, use_tqdm=False)

        error = None
        try:
            (output,) = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except RequestError as failure:
            error = failure.failure.code or failure.failure.kind
        except EngineError:
            error = "engine"
        else:
            for choice in output.outputs:
                tokens, scores = tuple(choice.token_ids), len(choice.logprobs or ())
                record.said.append(
                    Said(
                        time.monotonic(),
                        choice.index,
                        tokens,
                        choice.text,
                        scores,
                        choice.finish_reason,
                    )
                )
        record.ended.append(Ended(time.monotonic(), error))

    def held(self) -> dict[str, float]:
        return self._llm._client.counters()


class HttpFace:
    """Server-sent events as they come over the wire, without an SDK between.

    Each request is that of another tenant, drawn from `keys`: it finds little in any cache and goes
    the whole way.
    """

    name = "HTTP"
    ways: tuple[Way, ...] = ("going",)

    def __init__(self, session: aiohttp.ClientSession, media_url: str, keys: Sequence[str]) -> None:
        self._session, self._media_url, self._keys = session, media_url, keys

    async def put(self, ask: Ask, record: Record) -> None:
        headers = {"Authorization": f"Bearer {random.choice(self._keys)}"}
        # Behind the answer's end a broken connection is nothing to its caller.
        with suppress(aiohttp.ClientError, ConnectionError):
            async with self._session.post(
                "/v1/chat/completions", json=self._body(ask), headers=headers
            ) as response:
                if response.status != 200:
                    error = (await response.json())["error"]["code"]
                    record.ended.append(Ended(time.monotonic(), error))
                    return
                async for data in _events(response):
                    _note(data, record)
        if not record.ended:
            record.ended.append(Ended(time.monotonic(), BROKEN))

    def held(self) -> dict[str, float]:
        return {}  # its client is a process of the engine

    def _body(self, ask: Ask) -> dict[str, Any]:
        params = ask.sampling
        names = ("temperature", "top_p", "top_k", "seed", "n", "max_tokens", "ignore_eos")
        body = {
            name: getattr(params, name)
            for name in (*names, "presence_penalty", "frequency_penalty")
        }
        if params.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": params.logprobs}
        if params.stop:
            body["stop"] = list(params.stop)
        return {
            **body,
            "messages": ask.messages(self._media_url),
            "stream": True,
            "return_token_ids": True,
        }


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The data of each event."""
    async for line in response.content:
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ").strip()


def _note(data: bytes, record: Record) -> None:
    now = time.monotonic()
    if data == b"[DONE]":
        if not record.ended or record.ended[-1].error is None:  # it also follows an error
            record.ended.append(Ended(now))
        return
    event = json.loads(data)
    if "error" in event:
        record.ended.append(Ended(now, event["error"]["code"]))
        return
    for choice in event["choices"]:
        tokens = tuple(choice.get("token_ids") or ())
        text, finish = choice["delta"].get("content") or "", choice.get("finish_reason")
        scores = len((choice.get("logprobs") or {}).get("content") or ())
        if tokens or text or finish:
            record.said.append(Said(now, choice["index"], tokens, text, scores, finish))
