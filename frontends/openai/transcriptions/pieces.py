"""The pieces of one sound as requests, a few of them at a time, and their answers in order."""

from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from ....protocol.errors import RequestError
from ....protocol.requests.preview import ItemLook
from ....protocol.requests.request import Encoded, MediaItem, Piece, Prompt
from ....protocol.requests.sound import MOST_PIECES, CutOptions, Stretch, too_many_pieces
from ...client.client import Client
from ...client.stream import Stream, Update
from ...inputs.previews import WANTED
from ...inputs.submission import Submission, submit
from ..requests.transcriptions import Wanted
from .form import FormSound
from .writer import Times

MOST_AHEAD = 4
"""Pieces of one sound that are in the engine at once."""
WHERE = "file"


class PieceTask(NamedTuple):
    """What is asked of every piece."""

    sound: FormSound
    prompt: Prompt
    wanted: Wanted
    tenant: str
    hint: str | None
    """The field whose words make the prompt as long as it is."""


class SoundCut(NamedTuple):
    stretches: Sequence[Stretch]
    times: Sequence[Times]


async def cut(client: Client, task: PieceTask) -> SoundCut:
    """Asks decode workers where the sound is to be cut, in turns, between which others have theirs.
    Raises RequestError."""
    stretches: list[Stretch] = []
    options = CutOptions(task.wanted.piece_seconds, max(1, client.max_model_len // 2))
    while True:
        with _naming(task.hint):
            look = await _turn(client, task, options, wait=bool(stretches))
        assert look.stretches, "a turn that ends well has found pieces"
        stretches += look.stretches
        if len(stretches) > MOST_PIECES:
            raise too_many_pieces(WHERE)
        if look.rest is None:
            break
        options = msgspec.structs.replace(options, place=look.rest)
    rate = look.rate or 1
    return SoundCut(stretches, [Times(one.start / rate, one.end / rate) for one in stretches])


async def _turn(client: Client, task: PieceTask, options: CutOptions, wait: bool) -> ItemLook:
    item = MediaItem("audio", Encoded(task.sound.blob), WHERE, cut=options, digest=_digest(task))
    stream = await submit(
        client, Submission(task.prompt, (item,)), WANTED, wait=wait, tenant=task.tenant,
        priority=task.wanted.priority, streamed=False,
    )  # fmt: skip
    async with stream:
        async for _ in stream:
            pass
    assert stream.previewed is not None, "a preview that ends well has a cost"
    (cost,) = stream.previewed.items
    return cost.look


class Hearing:
    """Submits, and reads in order. The first is refused where there is no room; those ahead of the
    one that is read wait for room, unless nothing of the sound is in the engine."""

    def __init__(self, client: Client, task: PieceTask, cut: SoundCut) -> None:
        self._client, self._task, self._cut = client, task, cut
        self._begun = 0
        size = task.sound.blob.nbytes
        self._most = max(1, min(MOST_AHEAD, client.admission.share.media_bytes // (2 * size)))
        self._streams: deque[Stream] = deque()
        self.first: Stream | None = None

    async def updates(self) -> AsyncGenerator[tuple[int, Stream, Update]]:
        """Close it: what is under way then is cancelled. Raises RequestError."""
        try:
            with _naming(self._task.hint):
                for index in range(len(self._cut.stretches)):
                    if not self._streams:
                        await self._begin(wait=index > 0)
                    stream = self._streams[0]
                    await self._look_ahead()
                    async for update in stream:
                        yield index, stream, update
                        await self._look_ahead()
                    self._streams.popleft()
        finally:
            for stream in self._streams:
                await stream.cancel()

    async def _look_ahead(self) -> None:
        while len(self._streams) < self._most and self._begun < len(self._cut.stretches):
            try:
                await self._begin(wait=False)
            except RequestError as error:
                if error.failure.kind != "overloaded":
                    raise
                return

    async def _begin(self, wait: bool) -> None:
        task, wanted, times = self._task, self._task.wanted, self._cut.times[self._begun]
        submission = Submission(task.prompt, (self._item(self._cut.stretches[self._begun]),))
        stream = await submit(
            self._client, submission, wanted.sampled(times.end - times.start), wait=wait,
            tenant=task.tenant, priority=wanted.priority, streamed=wanted.stream,
        )  # fmt: skip
        self._begun += 1
        self._streams.append(stream)
        self.first = self.first or stream

    def _item(self, stretch: Stretch) -> MediaItem:
        """A sound that is one piece is like every other sound, and found again as such."""
        item = MediaItem("audio", Encoded(self._task.sound.blob), WHERE, digest=_digest(self._task))
        if len(self._cut.stretches) == 1:
            return item
        return msgspec.structs.replace(item, source=Piece(self._task.sound.blob, stretch))


@contextmanager
def _naming(hint: str | None) -> Iterator[None]:
    """What is too long with a hint is so because of it: of the sound it is half of the context.
    Raises RequestError."""
    try:
        yield
    except RequestError as error:
        failure = error.failure
        if hint is None or failure.part is not None or failure.code != "context_length_exceeded":
            raise
        raise RequestError(msgspec.structs.replace(failure, part=hint)) from None


def _digest(task: PieceTask) -> str:
    return task.sound.digest
