"""What the handlers of one app share: client, keys, body limits, metrics, and the count of generations under way."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from ...protocol.errors import RequestError, refuse
from ...protocol.roles import HttpConfig
from ..client import CLOSED, Client
from .auth import Keys
from .bodies import Bodies
from .metrics import Metrics
from .origins import Hosts, Origins
from .scan import allowed
from .schema import Body, decode, ignored_fields
from .tool_parsers import OPEN, Style

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)
B = TypeVar("B", bound=Body)
P = TypeVar("P")

IGNORED_HEADER = "X-Thespis-Ignored-Fields"
MAX_WARNED = 256
LARGE = 1 << 20
"""Bytes of a body above which parsing it takes milliseconds."""


class Service:
    def __init__(self, client: Client, config: HttpConfig) -> None:
        self.client, self.config = client, config
        server = config.server
        self.keys = Keys(server.api_key)
        self.origins = Origins(server.allowed_origins)
        self.hosts = Hosts(server.allowed_hosts, keyless_loopback=server.on_loopback and not server.api_key)
        limit = int(config.server.max_body_mb * (1 << 20))
        self.bodies = Bodies(limit, 2 * limit, allowed(config.engine.max_inflight_tokens))
        self.metrics = Metrics()
        self.started = int(time.time())
        self._warned: set[str] = set()
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def draining(self) -> bool:
        """Whether nothing new is accepted any more."""
        return self.client.draining

    @property
    def busy(self) -> int:
        """Generations under way."""
        return self._busy

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        await self._idle.wait()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Counts one generation. Raises RequestError while the server shuts down."""
        if self.draining:
            raise RequestError(CLOSED)
        self._busy += 1
        self._idle.clear()
        self.metrics.in_flight.inc()
        try:
            yield
        finally:
            self._busy -= 1
            self.metrics.in_flight.dec()
            if not self._busy:
                self._idle.set()

    async def read(
        self, request: web.Request, schema: type[B], parse: Callable[[B], P], generates: bool = False
    ) -> tuple[B, P, dict[str, str]]:
        """The body, what `parse` (pure) makes of it, and headers that name the ignored fields.

        A large body is parsed in a thread, so that other streams continue meanwhile. With `generates` the headers alone decide
        whether the engine has room for a request of this size; if not, raises RequestError 429.
        """
        with self.client.admission.expecting(request.content_length or 0) if generates else nullcontext():
            raw = await self.bodies.read(request)

        def work() -> tuple[B, P, list[str]]:
            body = decode(schema, raw)
            self.check_model(body.model)
            self._check_template(body)
            return body, parse(body), ignored_fields(schema, raw)

        body, parsed, ignored = await asyncio.to_thread(work) if len(raw) > LARGE else work()
        if not ignored:
            return body, parsed, {}
        self._warn(ignored)
        return body, parsed, {IGNORED_HEADER: ", ".join(ignored)}

    def _warn(self, fields: Sequence[str]) -> None:
        """Once for each name: a caller that sends it sends it every time."""
        new = [name for name in fields if name not in self._warned]
        if new and len(self._warned) < MAX_WARNED:
            self._warned.update(new)
            log.warning("requests have fields that are ignored: %s", ", ".join(new))

    def check_model(self, name: str | None) -> None:
        """Raises RequestError 404 for a model that is not served here. None stands for the one that is."""
        if name is not None and name != self.config.name:
            raise refuse("not_found", f"The served model is `{self.config.name}`.", "model", "model_not_found")

    def _check_template(self, body: Body) -> None:
        """A template is a program: those of callers run here only if the operator allows it."""
        if getattr(body, "chat_template", None) is not None and not self.config.engine.trust_request_chat_template:
            text = "A chat template in the request is refused; start with --trust-request-chat-template."
            raise refuse("unsupported", text, "chat_template", "unsupported")

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """Raises RequestError 400 for an id outside the vocabulary."""
        if any(id >= self.config.model.vocab for id in token_ids):
            raise refuse("invalid_request", "A token id is outside the vocabulary.", "tokens", "out_of_range")
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=False)
        return text

    @cached_property
    def tool_style(self) -> Style:
        """How the served model writes tool calls: as configured, or as its chat template shows."""
        told = self.config.server.tool_call_parser
        if told != "auto":
            return "hermes" if told == "hermes" else "json"
        template = self.config.engine.chat_template or OPEN
        return "hermes" if OPEN in template or "tools" not in template else "json"

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(Path(self.config.model.path) / "tokenizer.json"))


SERVICE: web.AppKey[Service] = web.AppKey("service", Service)
TENANT: web.RequestKey[str] = web.RequestKey("tenant", str)
