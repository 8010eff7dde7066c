"""An engine that is asked from within a process, without a server: lines of a batch's file in,
lines of answers back."""

from pathlib import Path
from typing import NamedTuple, Self

from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ..client.client import Client
from .app import BATCHED, make_app
from .app_state import APP_STATE
from .batches.inner import ask
from .batches.lines import NO_STREAM, Line, is_streamed, row, undone
from .batches.places import Places
from .over_client import config_over

SERVER = ServerConfig(max_stored_gb=0.0, playground=False)
MOST_BYTES = 64 << 20
"""Of requests that are in the engine at once."""


class Answered(NamedTuple):
    """One line's."""

    written: bytes
    """As a file of answers has it."""
    tokens: int
    status: int
    """What a caller would have got."""


class Within:
    """`places`: of lines that are in the engine at once; whoever asks takes one before."""

    def __init__(self, client: Client, engine: EngineConfig) -> None:
        self._client = client
        self._app = make_app(client, config_over(client, engine, SERVER))
        most = min(engine.max_num_seqs, client.admission.share.requests)
        self.places = Places(most, MOST_BYTES)

    @classmethod
    async def connect(cls, run_dir: Path, engine: EngineConfig) -> Self:
        return cls(await Client.connect(run_dir), engine)

    async def answer(self, line: Line) -> Answered:
        """Never raises for what is wrong with the request."""
        body = bytes(line.body).strip()
        if is_streamed(body):
            return Answered(undone(line.custom_id, NO_STREAM), 0, 400)
        answer = await ask(self._app, BATCHED[line.url], line.url, "", body)
        written = row(line.custom_id, answer.status, answer.body, answer.id)
        return Answered(written, answer.told.output_tokens, answer.status)

    async def close(self) -> None:
        await self._app[APP_STATE].close(self._app)
        await self._client.close()
