"""Questions to the preprocessor: the tokens of a prompt, without a generation."""

import asyncio
import secrets
import time
from functools import cache
from typing import Any

from ...protocol.edges.client_to_preprocessor import Tokenize
from ...protocol.edges.preprocessor_to_client import Tokenized
from ...protocol.errors import Failure, RequestError
from ...protocol.requests.request import Prompt, Request
from ...protocol.requests.sampling import SamplingParams
from .connection import Connection

RESTARTED = Failure(
    "restarted",
    "A part of the engine was restarted while it worked on this request; send it again.",
    code="restarted",
)


@cache
def tokenizer_of(folder: str) -> Any:
    """transformers' own, from the files of the folder alone. Imports transformers."""
    from transformers import AutoTokenizer

    from ...gpu_runtime import families  # noqa: F401 - makes the types known that transformers does not have

    kind: Any = AutoTokenizer  # untyped in transformers
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


class Tokenizing:
    """The open questions by id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: dict[str, tuple[Request, asyncio.Future[Tokenized]]] = {}

    @property
    def requests(self) -> list[Request]:
        return [request for request, _ in self._open.values()]

    def request(self, prompt: Prompt) -> Request:
        """The question, in the form in which the preprocessor reads prompts."""
        return Request(
            id=secrets.token_hex(12),
            client=self._connection.role,
            arrival=time.monotonic(),
            prompt=prompt,
            sampling=SamplingParams(seed=0, max_tokens=1),
        )

    async def ask(self, request: Request) -> Tokenized:
        """Raises RequestError; EngineError if no answer comes."""
        future: asyncio.Future[Tokenized] = asyncio.get_running_loop().create_future()
        self._open[request.id] = request, future
        try:
            if not self._connection.send("preprocessor", Tokenize(request)):
                raise RequestError(RESTARTED)
            async with self._connection.answering():
                return await future
        finally:
            del self._open[request.id]

    def hear(self, tokenized: Tokenized) -> None:
        _, future = self._open.get(tokenized.id, (None, None))
        if future is not None and not future.done():
            future.set_result(tokenized)

    def fail(self, id: str, failure: Failure) -> None:
        _, future = self._open.get(id, (None, None))
        if future is not None and not future.done():
            future.set_exception(RequestError(failure))

    def preprocessor_gone(self) -> None:
        """The questions are lost with it; the callers may ask again."""
        for id in self._open:
            self.fail(id, RESTARTED)
