"""Section A on the engine as shipped, its own fetcher included: private addresses are opened by
their option alone."""

import pytest

from thespis import LLM

from .faces import OfflineFace, ask, refusal
from .web import Site, part

pytestmark = pytest.mark.process


def test_S2_allow_private_media_opens_private_addresses(ruled_llm: LLM) -> None:
    with Site() as site:
        face = OfflineFace(ruled_llm)
        for host in ("127.0.0.1", "localhost"):
            assert ask(face, [part(site.url("/picture-1.png", host))]).token_ids
        assert "404" in refusal(face, [part(site.url("/nothing", "127.0.0.1"))]).text
