"""One answer: asked for, shown as it comes, and what it took."""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ..api import Api, ApiError, Chunk, Usage
from ..printing import printable

TOO_LONG = "context_length_exceeded"
THINKING, ANSWER = "[thinking]\n", "\n[answer]\n"
"""Before either, where a model thinks."""
LEAST_SECONDS = 0.01
"""Tokens that come in less than that came at once: how many a second there are cannot be told."""
PATIENCE_SECONDS, TELL_SECONDS = 1.0, 0.5
"""When it is told that a first token is waited for, and how often how long."""


class ChatAnswer(msgspec.Struct):
    """What came, and when, in seconds after it was asked for."""

    words: list[str] = []
    thinks: bool = False
    """It has begun with thinking, which is shown and not kept."""
    first: float = 0.0
    last: float = 0.0
    usage: Usage | None = None
    stopped: bool = False
    error: str | None = None
    too_long: bool = False
    """The error: the conversation exceeds the context."""

    @property
    def text(self) -> str:
        return "".join(self.words)

    def add(self, chunk: Chunk, now: float) -> str:
        """What there is to show."""
        self.usage = chunk.usage or self.usage
        thought = "".join(choice.thought for choice in chunk.choices)
        text = "".join(choice.words for choice in chunk.choices)
        shown = thought if self.thinks or not thought else THINKING + thought
        if thought or text:
            self.first = self.first if self.thinks or self.words else now
        self.thinks = self.thinks or bool(thought)
        if text:
            shown += text if self.words or not self.thinks else ANSWER + text
            self.words.append(text)
        if (
            self.words or self.thinks
        ) and chunk.choices:  # its last token may be one that ends it and has no words
            self.last = now
        return shown

    def figures(self) -> str:
        """One line. Of a stopped answer nobody counts the tokens."""
        took = f"first token after {self.first * 1000:.0f} ms"
        if self.usage is None:
            return f"[{took}; {len(self.words)} pieces in {self.last:.1f} s]"
        tokens, seconds = self.usage.completion_tokens, self.last - self.first
        told = tokens > 1 and seconds >= LEAST_SECONDS
        rate = f", {(tokens - 1) / seconds:.1f} tokens/s" if told else ""
        details = self.usage.prompt_tokens_details
        cached = details.cached_tokens if details is not None else None
        return (
            f"[{tokens} token{'' if tokens == 1 else 's'}{rate}, {took}; prompt "
            f"{self.usage.prompt_tokens}" + (f", {cached} of them cached]" if cached else "]")
        )


def show(text: str) -> None:
    """Nothing that anybody wrote moves the terminal's cursor."""
    print(printable(text), end="", flush=True)


def _at_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


class Waiting:
    """How long the first token has been waited for, in a line that goes when it comes. Only people
    at a terminal see it."""

    def __init__(self) -> None:
        self._line = ""
        self._task = asyncio.ensure_future(self._tell()) if _at_terminal() else None

    async def _tell(self) -> None:
        began = time.perf_counter()
        await asyncio.sleep(PATIENCE_SECONDS)
        while True:
            line = f"waiting for the first token, {time.perf_counter() - began:.0f} s"
            line = line[: shutil.get_terminal_size().columns - 1]  # one that is folded stays
            print(f"\r{line}", end="", flush=True)
            self._line = line
            await asyncio.sleep(TELL_SECONDS)

    def end(self) -> None:
        """Idempotent."""
        if self._task is not None:
            self._task.cancel()
        if self._line:
            print(f"\r{' ' * len(self._line)}\r", end="", flush=True)
            self._line = ""


async def ask(api: Api, body: dict[str, Any], show: Callable[[str], None] = show) -> ChatAnswer:
    """Ctrl-C stops it, and what has come is kept."""
    answer, waiting = ChatAnswer(), Waiting()

    def shows(text: str) -> None:
        waiting.end()
        show(text)

    task = asyncio.ensure_future(_stream(api, body, answer, shows))
    loop, otherwise = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, otherwise)
        task.cancel()
        waiting.end()
    if task.cancelled():
        answer.stopped = True
    elif isinstance(error := task.exception(), ApiError):
        answer.error, answer.too_long = str(error), error.code == TOO_LONG
    else:
        task.result()
    return answer


async def _stream(
    api: Api, body: dict[str, Any], answer: ChatAnswer, show: Callable[[str], None]
) -> None:
    began = time.perf_counter()
    async for chunk in api.stream("/v1/chat/completions", body):
        if text := answer.add(chunk, time.perf_counter() - began):
            show(text)
