"""Who does not take his messages is replaced, long before his lease is over; who writes to him only
loses the edge."""

import asyncio
import os
import signal

import pytest

from thespis.frontends.client.client import Client
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import TextPrompt

from ..helpers.torchless import TORCHLESS, played_by

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
LEASE_SECONDS = 600.0
MANY = 12_000
"""More than the edge's bound and what the sockets' buffers take."""


async def test_a_stopped_preprocessor_is_replaced_when_its_edge_is_full() -> None:
    config = EngineConfig(lease_seconds=LEASE_SECONDS)
    engine = await asyncio.to_thread(start_engine, config, **played_by(TORCHLESS))
    with engine:
        async with await Client.connect(engine.run_dir) as client:
            stopped = (await client.status()).pids["preprocessor"]
            os.kill(stopped, signal.SIGSTOP)
            asked = [client.tokenize(TextPrompt("word " * 20)) for _ in range(MANY)]
            async with asyncio.timeout(60):
                answers = await asyncio.gather(*asked, return_exceptions=True)
                assert all(
                    isinstance(a, RequestError) and a.failure.code == "restarted" for a in answers
                )
                while not client.ready:
                    await asyncio.sleep(0.01)
                assert (await client.tokenize(TextPrompt("word"))).token_ids
            status = await client.status()
            assert status.restarts["preprocessor"] == 1
            assert sum(status.restarts.values()) == 1
