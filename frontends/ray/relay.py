"""One call at the door: asked of one replica after the other, until its answer is whole. What its
caller has of it is kept here, so that another replica goes on behind that. Knows nothing of Ray."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from ...protocol.errors import Failure, RequestError
from ..openai.answers.carried import SoFar
from .edge import AnswerHead, AnswerPiece, encode, head_of, news_of

log = logging.getLogger(__name__)

MOST_LOST = 8
"""Times that one call may lose its replica. What kills one after the other ends here."""
REFUSED = 4
"""Times that a replica which has no room, or ends, is followed by another."""
MOST_REFUSED = 60
"""Times that the rest of a stream waits for room."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
"""Seconds before a call is asked again; twice as long each time."""
ELSEWHERE = frozenset({429, 503})
GIVEN_UP = Failure(
    "restarted",
    "The replicas that worked on this request were lost one after the other; send it again.",
    code="replicas_lost",
)
CUT = Failure(
    "restarted", "The replica that answered was lost; send the request again.", code="replica_lost"
)

Send = Callable[[bytes, Sequence[str]], AsyncGenerator[AnswerPiece, None]]
"""Asks some replica to go on behind what was given; the second: which ones have failed."""


class Lost(Exception):
    """The replica has gone, or its engine has."""


class Refused(Lost):
    """For want of room, or because it ends: another one may have it, or the same one soon."""


class Relay:
    """`lost`: the exceptions by which a dead replica is known."""

    def __init__(self, send: Send, repeats: bool, lost: tuple[type[Exception], ...]) -> None:
        """`repeats`: to ask twice does no more than to ask once."""
        self._send, self._repeats = send, repeats
        self._lost: tuple[type[Exception], ...] = (*lost, Lost)
        self._so_far: SoFar | None = None
        self._avoid: list[str] = []
        self._head: AnswerHead | None = None
        """What the caller has been told, or is about to be."""
        self._held: list[bytes] = []
        """Of an answer that is kept until it is whole."""
        self._open = False
        """Some of it has been given to the caller."""
        self._raw = False
        """The caller has something of which nothing was told: it cannot go on elsewhere."""
        self.losses = 0

    async def answer(self) -> tuple[AnswerHead, AsyncIterator[bytes]]:
        """How it begins, and its body as it comes. Raises RequestError."""
        pieces = self._pieces()
        try:
            first = await anext(pieces)
        except BaseException:
            await pieces.aclose()
            raise
        assert self._head is not None
        return self._head, self._body(first, pieces)

    async def _body(
        self, first: bytes, pieces: AsyncGenerator[bytes, None]
    ) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(pieces):
            if first:
                yield first
            async for piece in pieces:
                yield piece

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """The first may be empty: with it the head is known."""
        wait, refused = FIRST_WAIT, 0
        while True:
            try:
                async for piece in self._once(refused < REFUSED):
                    yield piece
                return
            except self._lost as error:
                if isinstance(error, Refused):
                    refused += 1
                else:
                    self.losses += 1
                    log.warning("a replica was lost with a request: %s", type(error).__name__)
                self._check_again(refused)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _check_again(self, refused: int) -> None:
        """Raises RequestError where it may not be asked again."""
        if self._raw:
            raise RequestError(CUT)
        if not self._repeats and self._so_far is None:
            raise RequestError(CUT)
        if self.losses >= MOST_LOST or refused >= MOST_REFUSED:
            raise RequestError(GIVEN_UP)

    async def _once(self, may_move: bool) -> AsyncGenerator[bytes, None]:
        """The answer of one replica, behind what was given. Raises one of `lost`."""
        self._held = []
        given = b"" if self._so_far is None else encode(self._so_far)
        async with contextlib.aclosing(self._send(given, self._avoid)) as pieces:
            async for kind, first, second in pieces:
                match kind:
                    case "head":
                        if self._begin(head_of(first), may_move):
                            yield b""
                    case "piece" if self._open:
                        self._raw = self._raw or not first
                        for news in news_of(first):
                            self._note(news)
                        yield second
                    case "piece":
                        self._held.append(second)
                    case "lost":
                        raise Lost
                    case "end":
                        if not self._open:
                            yield b"".join(self._held)
                        return
        raise Lost  # it broke off

    def _begin(self, head: AnswerHead, may_move: bool) -> bool:
        """Whether the caller gets what follows as it comes, from here on."""
        refuses = head.status in ELSEWHERE
        if self._open:
            if head.status != 200:
                self._avoid = [head.replica]
                raise Refused if refuses else Lost
            return False
        if refuses and may_move and self._repeats:
            self._avoid = [head.replica]
            raise Refused
        self._head, self._open = head, not head.whole
        self._avoid = [head.replica]
        return self._open

    def _note(self, news: SoFar) -> None:
        if self._so_far is None:
            self._so_far = news
        else:
            self._so_far.add(news)
