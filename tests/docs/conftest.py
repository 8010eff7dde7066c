"""One engine for all pages, with whatever the pages start theirs with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..helpers.serving import Server, served

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with served(
        enable_mm_embeds=True,
        enable_prompt_embeds=True,
        enforce_eager=True,
        trust_remote_code=True,
        allowed_local_media_path=str(ROOT / "demo_model" / "media"),
    ) as server:
        yield server
