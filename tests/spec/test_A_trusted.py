"""Section A on the engine as shipped, its own fetcher included: private addresses are opened by
their option alone."""

import pytest

from thespis import LLM

from ..helpers.media import data_url
from ..helpers.serving import Server
from .faces import OfflineFace, ask, refusal
from .troupe import text
from .web import Site, media, part

pytestmark = pytest.mark.process


def test_S2_allow_private_media_opens_private_addresses(ruled_llm: LLM) -> None:
    with Site() as site:
        face = OfflineFace(ruled_llm)
        for host in ("127.0.0.1", "localhost"):
            assert ask(face, [part(site.url("/picture-1.png", host))]).token_ids
        assert "404" in refusal(face, [part(site.url("/nothing", "127.0.0.1"))]).text


def test_a_picture_by_url_is_the_picture_and_its_answer_says_that_it_was_fetched(
    ruled: Server,
) -> None:
    with Site() as site:
        choices, stages = [], []
        for url in (
            site.url("/picture-1.png", "127.0.0.1"),
            data_url("image/png", media("picture-1.png")),
        ):
            answer = ruled.chat([part(url), text("what?")], return_timings=True).body
            choices.append(answer["choices"])
            stages.append({stage["stage"] for stage in answer["timings"]})
    assert choices[0] == choices[1]
    assert ("fetch" in stages[0], "fetch" in stages[1]) == (True, False)
