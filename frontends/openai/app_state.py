"""What the handlers of one app share."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from aiohttp import web

from ...actors.quarantine.records import POISON
from ...protocol.chat_templates.reasoning import marks_of
from ...protocol.chat_templates.tool_styles import style_of
from ...protocol.config.roles import HttpConfig
from ...protocol.errors import EngineError, RequestError
from ..client.client import CLOSED, Client
from .blame import Blame
from .bodies.readers import Readers
from .bodies.reading import B, Call, Kind, P, Terms, is_small, read
from .bodies.receiving import Bodies, Received
from .bodies.scan import allowed
from .gate.auth import OPEN_PATHS, WATCHED_PATHS, Keys
from .gate.origins import Hosts, Origins
from .metrics import Metrics
from .metrics_aliases import VllmAliases
from .pages import Playground
from .requests.common import ChatTerms
from .stored.storage import Storage
from .stored.uploads import Uploads
from .traces.traces import Traces

log = logging.getLogger(__name__)

IGNORED_HEADER = "X-Thespis-Ignored-Fields"
MAX_WARNED = 256


class AppState:
    def __init__(self, client: Client, config: HttpConfig, blame: Blame) -> None:
        self.client, self.config, self._blame = client, config, blame
        server = config.server
        self.keys = Keys(server.api_key)
        self.origins = Origins(server.allowed_origins)
        self.hosts = Hosts(
            server.allowed_hosts,
            keyless_loopback=server.on_loopback and not server.api_key,
            keyed=bool(server.api_key),
        )
        self.playground = Playground(config)
        watched = frozenset() if server.guard_metrics else WATCHED_PATHS
        self.open_paths = OPEN_PATHS | watched | self.playground.open_paths
        """Without a key."""
        limit = int(config.server.max_body_mb * (1 << 20))
        self.bodies = Bodies(limit, 2 * limit, allowed(config.engine.max_inflight_tokens))
        self.terms = terms_of(config)
        self.readers = Readers(client.media, self.terms)
        self.metrics = Metrics(self.terms.model)
        self.traces = Traces(server, self.terms.model)
        self.storage = Storage(
            server.data_folder,
            int(server.max_stored_gb * (1 << 30)),
            keyed=bool(server.api_key),
            hasher=config.engine.mm_hasher_algorithm,
        )
        self.uploads = Uploads(self.storage, client.media, client.admission.expecting_media)
        self.started = int(time.time())
        self._measuring: asyncio.Task[bytes] | None = None
        """Makes the text of the metrics."""
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

    def path_of(self, request: web.Request) -> str:
        """As if there were no proxy that shows this server below a path of its own."""
        root = self.config.server.root_path
        path = request.path
        return path[len(root) :] if root and path.startswith(f"{root}/") else path

    async def open(self, app: web.Application) -> None:
        """With the app."""
        self.storage.begin_sweeping()

    async def close(self, app: web.Application) -> None:
        """With the app."""
        self.readers.close()
        await self.storage.close()
        await asyncio.to_thread(self.traces.close)

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
        self, request: web.Request, kind: Kind[B, P], generates: bool = False
    ) -> tuple[B, list[P], dict[str, str]]:
        """The body, what it asks for, and headers that name the ignored fields. What is not small
        is read by another process. With `generates` the head alone decides whether there is room:
        if not, raises RequestError 429. Call `forget` when the request is over."""
        place: AbstractContextManager[None] = nullcontext()
        if generates:
            place = self.client.admission.expecting(request.content_length or 0)
        with place:
            async with self.bodies.receive(request) as body:
                call = await self._read(kind, body, request[TENANT])
        drafts = request[DRAFTS] = [] if call.draft is None else [call.draft]
        call = call._replace(pieces=await self.uploads.fill(call.pieces, request[TENANT], drafts))
        return call.body, call.pieces, self.ignored(call.ignored)

    def ignored(self, fields: Sequence[str]) -> dict[str, str]:
        """Headers that name the ignored fields, which the log does, too."""
        if not fields:
            return {}
        self._warn(fields)
        return {IGNORED_HEADER: ", ".join(fields)}

    async def read_stored(self, request: web.Request, kind: Kind[B, P], data: bytes) -> list[P]:
        """What belongs to this call of earlier bodies; after `read`, which does the same."""
        async with self.bodies.again(data) as body:
            call = await self._read(kind, body, request[TENANT])
        drafts = request[DRAFTS]
        if call.draft is not None:
            drafts.append(call.draft)
        return list(await self.uploads.fill(call.pieces, request[TENANT], drafts))

    async def _read(self, kind: Kind[B, P], body: Received, tenant: str) -> Call[B, P]:
        name = body.name
        self._blame.refuse(name, time.monotonic())
        in_hand = partial(self._blame.in_hand, name, tenant)
        if is_small(body.scan) and not self._blame.suspects(tenant, time.monotonic()):
            async with self.bodies.turn(body.scan.size):
                with in_hand():
                    return read(kind, body.raw, self.terms)
        try:
            return await self.readers.read(kind, body.file, body.scan.size, in_hand)
        except RequestError as error:
            if error.failure == POISON:
                self._blame.convict(name, time.monotonic())
            raise

    async def metrics_text(self) -> bytes:
        """Those who ask while it is being made get the same: it takes milliseconds."""
        if self._measuring is None:
            self._measuring = asyncio.create_task(self._measure())
        return await asyncio.shield(self._measuring)

    async def _measure(self) -> bytes:
        try:
            status = await self.client.status()
        except EngineError:
            log.warning("no counters from the engine")
            status = None
        try:
            self.metrics.stored(await self.storage.sums())
        finally:
            self._measuring = None  # who comes from here on asks anew
        wanted = self.config.server.metrics_aliases == "vllm"
        aliases = VllmAliases(self.metrics, self.config, status) if wanted else None
        return self.metrics.text(status, aliases)

    def forget(self, request: web.Request) -> None:
        """Remove the media that were read and not submitted."""
        for draft in request.get(DRAFTS, ()):
            self.client.media.discard(draft)

    def _warn(self, fields: Sequence[str]) -> None:
        """Once for each name: a caller that sends it sends it every time."""
        names = dict.fromkeys(re.sub(r"\[\d+\]", "[]", field) for field in fields)
        new = [name for name in names if name not in self._warned]
        if new and len(self._warned) < MAX_WARNED:
            self._warned.update(new)
            log.warning("requests have fields that are ignored: %s", ", ".join(new))


def terms_of(config: HttpConfig) -> Terms:
    """What this server accepts."""
    client = config.client
    return Terms(
        model=client.name,
        context=client.max_model_len,
        vocabulary=client.model.vocab,
        folder=client.model.path,
        tokenizer_parts=client.model.tokenizer_parts,
        chat=ChatTerms(
            embeds=config.engine.enable_mm_embeds,
            style=style_of(config.server.tool_call_parser, config.engine.chat_template),
            marks=marks_of(
                config.engine.reasoning_parser, config.engine.chat_template, client.model.model_type
            ),
        ),
        prompt_embeds=config.engine.enable_prompt_embeds,
        templates=config.engine.trust_request_chat_template,
    )


APP_STATE: web.AppKey[AppState] = web.AppKey("state", AppState)
DRAFTS: web.RequestKey[list[str]] = web.RequestKey("drafts", list[str])
"""Set on a request: the paths of what was written of its media by others than this process."""
TENANT: web.RequestKey[str] = web.RequestKey("tenant", str)
