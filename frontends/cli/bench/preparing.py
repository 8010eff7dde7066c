"""Pictures on the way from files to features through a running engine, and how long its loops let
others wait meanwhile."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ....protocol.config.engine import EngineConfig
from ....protocol.errors import EngineError, RequestError
from ....protocol.facts import ModelFacts
from ....protocol.requests.request import MediaItem, TextPrompt, Url
from ....protocol.requests.sampling import SamplingParams
from ...client.client import Client
from ...engine import find_engine, start_engine

ROOM = 16
"""Tokens of the context beside a picture's own."""
WORDS = " a" * (2 * ROOM)
"""As many tokens. A picture fits into the context, or it would be refused unseen; with the words it
does not, so its request ends when its features are there: nothing else is measured."""
LOOK_SECONDS = 0.005
"""From one question beside the pictures to the next."""


class Prepared(NamedTuple):
    """What an engine did."""

    model: ModelFacts
    seconds: float
    """For all pictures."""
    features: int
    """Pictures of which they were made."""
    answers: list[float]
    """Seconds that the preprocessor took to say what the tokens of a text are: its turn in the
    loops of all who pass it on."""


def prepare(model: str, pictures: Sequence[bytes], rows: int, workers: int) -> Prepared:
    """On as many cores as there are workers. `rows`: of a picture.

    Raises EngineError where the engine does not start, takes no pictures, or has room for their
    tokens and the words in its context.
    """
    with tempfile.TemporaryDirectory() as folder:
        urls = []
        for number, data in enumerate([*_others(pictures[0], workers), *pictures]):
            path = Path(folder, f"{number}.png")
            path.write_bytes(data)
            urls.append(path.as_uri())
        config = EngineConfig(
            model=model,
            decode_workers=workers,
            max_model_len=rows + ROOM,
            allowed_local_media_path=folder,
            kv_cache_gb=0.01,
        )
        with _cores(workers), start_engine(config) as engine:
            return asyncio.run(_measured(engine.run_dir, urls[:workers], urls[workers:]))


@contextmanager
def _cores(count: int) -> Iterator[None]:
    """As many for the engine and its caller, where there are more: what one core does is what
    several are held against."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_of_them)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def _others(picture: bytes, count: int) -> list[bytes]:
    """As many files with that picture, each with other bytes: what follows a picture's end is not
    looked at."""
    return [picture + bytes([number + 1]) for number in range(count)]


async def _measured(run_dir: Path, warm: Sequence[str], urls: Sequence[str]) -> Prepared:
    client = await Client.connect(find_engine(run_dir))
    try:
        await asyncio.gather(
            *(_one(client, url) for url in warm)
        )  # every worker has made features before
        before = await _made(client)
        answers: list[float] = []
        asking = asyncio.create_task(_ask(client, answers))
        begin = time.perf_counter()
        await asyncio.gather(*(_one(client, url) for url in urls))
        seconds = time.perf_counter() - begin
        asking.cancel()
        return Prepared(client.model, seconds, await _made(client) - before, answers)
    finally:
        await client.close()


async def _made(client: Client) -> int:
    """Pictures whose features are there, or were."""
    return int((await client.status()).stats["preprocessor"]["decoded"])


async def _one(client: Client, url: str) -> None:
    image = client.model.placeholders.get("image")
    if image is None:
        raise EngineError(f"The model {client.model_name!r} takes no pictures: name one that does.")
    prompt = TextPrompt(image.text + WORDS)
    item = MediaItem("image", Url(url), "picture")
    try:
        async with await client.submit(
            prompt, (item,), SamplingParams(max_tokens=1), wait=True
        ) as stream:
            async for _ in stream:
                pass
    except RequestError as error:
        if error.failure.code != "context_length_exceeded":
            raise EngineError(f"A picture was refused: {error.failure.text}") from None
        return
    raise EngineError("A picture and 32 words fit into the context that was to hold the picture.")


async def _ask(client: Client, answers: list[float]) -> None:
    while True:
        begin = time.perf_counter()
        await client.tokenize(TextPrompt(WORDS))
        answers.append(time.perf_counter() - begin)
        await asyncio.sleep(LOOK_SECONDS)
