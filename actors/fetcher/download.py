"""One URL to its bytes: redirects by hand, retries, byte cap, and one time limit around all of
it."""

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import hdrs
from yarl import URL

from ...protocol.config.roles import FetcherConfig
from ...protocol.requests.request import Modality
from .connection import CheckedConnector, CheckedResolver
from .disk import DiskCache
from .freshness import NONE, fresh_seconds, may_be_kept, validators_of
from .local import read_local
from .policy import FetchError, Policy, unavailable
from .shelf import Note

CONNECT_SHARE = 3
"""A connection attempt may take this part of the time limit, so that a lost packet leaves time for
another."""
CHUNK = 1 << 16
BACKOFF = 0.1
"""Seconds before the first retry; doubled each time."""
MAX_HEADER = 16384
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRIED = frozenset({408, 429})

Account = Callable[[int], None]
"""Told of bytes taken into memory (negative: given back); raises FetchError where there is no room
for them."""


class Progress:
    """How far one fetch has come, for its errors."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """For the whole fetch."""
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.patience = seconds
        """How long this attempt waits for a server that sends nothing."""
        self.stage = "connecting"
        self.fresh = math.inf
        """Seconds for which this attempt's answers, redirects included, may be used again."""
        self.kept = True
        """They may be kept."""
        self.validators = NONE
        """Of an answer to the URL itself: what redirects lead to may be another thing next time."""

    @property
    def left(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()


class Downloader:
    """Fetches under one policy. `policy`, `resolver` and `connector` can be given for tests."""

    def __init__(
        self,
        config: FetcherConfig,
        policy: Policy | None = None,
        resolver: aiohttp.abc.AbstractResolver | None = None,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        self._config = config
        self._policy = policy or Policy(config.allowed_domains, config.allow_private)
        self._session = aiohttp.ClientSession(
            connector=connector
            or CheckedConnector(self._policy, resolver or CheckedResolver(self._policy)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={hdrs.ACCEPT_ENCODING: "identity", hdrs.USER_AGENT: "thespis"},
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            trust_env=False,
            trace_configs=[_stages()],
        )
        self.cache: DiskCache | None = None
        if config.cache_path is not None:
            rules = [*sorted(config.allowed_domains), f"{config.allow_private}"]
            self.cache = DiskCache(
                config.cache_path,
                config.cache_bytes,
                config.cache_seconds,
                [*rules, f"{config.redirects}"],
            )
        self.downloads = 0
        """That went to the network."""

    async def open(self) -> None:
        """Raises EngineError where the cache's folder cannot be used."""
        if self.cache is not None:
            await self.cache.open()

    async def close(self) -> None:
        await self._session.close()
        if self.cache is not None:
            await self.cache.close()

    async def get(self, url: str, modality: Modality, account: Account) -> bytes | bytearray:
        """The bytes of `url`, accounted for. Raises FetchError, with nothing accounted for."""
        if url[:5].lower() == "file:":
            read = await asyncio.to_thread(
                read_local, url, self._config.local_path, self._config.max_bytes
            )
            account(len(read))
            return read
        checked = self._policy.check(url).with_fragment(None)
        kept = None if self.cache is None else await self.cache.find(str(checked), account)
        if kept is not None:
            return kept
        note = None if self.cache is None else self.cache.stale(str(checked))
        data = await self._fetch(checked, modality, account, note)
        if data is None:  # it has not changed, and cannot be read any more
            data = await self._fetch(checked, modality, account, None)
            assert data is not None
        return data

    async def _fetch(
        self, checked: URL, modality: Modality, account: Account, note: Note | None
    ) -> bytes | bytearray | None:
        """From its server, who is asked whether `note` still holds, where there is one. None: it
        does, and its bytes are not there."""
        self.downloads += 1
        progress = Progress(self._config.timeouts[modality])
        try:
            async with asyncio.timeout_at(progress.deadline):
                data = await self._attempts(checked, progress, account, note)
        except TimeoutError:
            raise unavailable(
                f"Fetching the {modality} took longer than {progress.seconds:g} s "
                f"({progress.stage})."
            ) from None
        if self.cache is None:
            return data
        if data is None:
            assert note is not None
            fresh = note.seconds if math.isinf(progress.fresh) else progress.fresh
            seconds = fresh if progress.kept else None
            return await self.cache.confirmed(str(checked), note, seconds, account)
        if progress.kept:
            self.cache.keep(str(checked), data, progress.fresh, progress.validators)
        return data

    async def _attempts(
        self, url: URL, progress: Progress, account: Account, note: Note | None
    ) -> bytearray | None:
        retries = 0
        while True:
            # Half of what is left, while there are attempts left: a server that hangs leaves time
            # to ask again.
            progress.patience = progress.left / (2 if retries < self._config.retries else 1)
            progress.fresh, progress.kept, progress.validators = math.inf, True, NONE
            try:
                return await self._follow(url, progress, account, note)
            except FetchError as error:
                pause = max(BACKOFF * 2**retries * random.uniform(0.8, 1.2), error.retry_after)
                if not error.retry or retries >= self._config.retries or pause >= progress.left:
                    raise
            retries += 1
            await asyncio.sleep(pause)

    async def _follow(
        self, url: URL, progress: Progress, account: Account, note: Note | None
    ) -> bytearray | None:
        """One attempt, over all its hops; each is checked like the first and carries nothing over.
        None: `note` still holds."""
        question = {} if note is None else note.validators.question
        for hop in range(self._config.redirects + 1):
            answer = await self._hop(url, progress, account, question)
            if not isinstance(answer, str):
                progress.validators = NONE if hop else progress.validators
                return answer
            question = {}
            url = self._policy.check(answer, hop=True)
        most = self._config.redirects
        text = f"more than {most} redirects" if most else "redirects are switched off"
        raise unavailable(f"The server redirects: {text}.")

    async def _hop(
        self, url: URL, progress: Progress, account: Account, question: dict[str, str]
    ) -> bytearray | str | None:
        """The body, or where a redirect leads; None: what `question` is about has not changed."""
        connect = min(progress.patience, progress.seconds / CONNECT_SHARE)
        limit = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=progress.patience)
        progress.stage = "connecting"
        try:
            async with self._session.get(
                url,
                allow_redirects=False,
                timeout=limit,
                trace_request_ctx=progress,
                headers=question,
            ) as response:
                progress.stage = "reading the answer"
                progress.fresh = min(progress.fresh, fresh_seconds(response.headers))
                progress.kept &= may_be_kept(response.headers)
                progress.validators = validators_of(response.headers)
                if response.status == 304 and question:
                    return None
                location = response.headers.get(hdrs.LOCATION)
                if response.status in _REDIRECTS and location:
                    return _join(url, location)
                self._check_head(response)
                return await self._body(response, account)
        except FetchError:
            raise
        except aiohttp.SocketTimeoutError:
            text = f"The server stopped answering ({progress.stage})."
            raise unavailable(text, retry=True) from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            text = f"The connection to the server failed ({progress.stage})."
            raise _found(error) or unavailable(text, retry=True) from None
        except (aiohttp.ClientError, ValueError) as error:
            text = f"The server's answer makes no sense ({progress.stage})."
            raise _found(error) or unavailable(text) from None

    def _check_head(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status != 200:
            retry = status >= 500 or status in _RETRIED
            pause = _seconds(response) if retry else 0.0
            raise unavailable(f"The server answered with status {status}.", retry, pause)
        if response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() not in ("identity", ""):
            raise unavailable("The server sends a compressed answer, which is not accepted.")
        if response.content_length is not None and response.content_length > self._config.max_bytes:
            raise self._too_large()

    async def _body(self, response: aiohttp.ClientResponse, account: Account) -> bytearray:
        data = bytearray()
        try:
            async for chunk in response.content.iter_chunked(CHUNK):
                if len(data) + len(chunk) > self._config.max_bytes:
                    raise self._too_large()
                account(len(chunk))
                data += chunk
        except BaseException:
            account(-len(data))
            raise
        return data

    def _too_large(self) -> FetchError:
        most = self._config.max_bytes
        text = f"The answer is larger than the {most} bytes that one item may have."
        return FetchError("too_large", text)


def _stages() -> aiohttp.TraceConfig:
    """Has aiohttp write the stages before the answer into the `Progress` of the request."""
    traces = aiohttp.TraceConfig()
    for signal, stage in (
        (traces.on_dns_resolvehost_start, "looking up the name"),
        (traces.on_dns_resolvehost_end, "connecting"),
        (traces.on_connection_create_end, "waiting for the answer"),
        (traces.on_connection_reuseconn, "waiting for the answer"),
    ):

        async def enter(_: Any, context: Any, __: Any, stage: str = stage) -> None:
            context.trace_request_ctx.stage = stage

        signal.append(enter)
    return traces


def _join(url: URL, location: str) -> str:
    """Where `location` leads from `url`; the policy checks it like any other."""
    try:
        return str(url.join(URL(location)))
    except ValueError:
        raise unavailable("The server redirects to something that is no URL.") from None


def _seconds(response: aiohttp.ClientResponse) -> float:
    """`Retry-After`, where it is a number."""
    value = response.headers.get(hdrs.RETRY_AFTER, "")
    return float(value) if value.isdecimal() and len(value) < 6 else 0.0


def _found(error: BaseException) -> FetchError | None:
    """A refusal of ours inside what aiohttp made of it."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, FetchError):
            return inner
        inner = inner.__cause__ or inner.__context__
    return None
