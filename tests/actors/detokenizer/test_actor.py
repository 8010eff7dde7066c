from pathlib import Path

import pytest

from thespis.actors.detokenizer.actor import Detokenizer
from thespis.actors.kernel.launch import Launch
from thespis.protocol.config.roles import DetokenizerConfig
from thespis.protocol.edges.control import Gone
from thespis.protocol.edges.detokenizer_to_client import Deltas, Finished
from thespis.protocol.edges.detokenizer_to_scheduler import Stopped
from thespis.protocol.edges.scheduler_to_detokenizer import Close, Open, Output, Outputs, Usage
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import KvGroup, ModelFacts
from thespis.protocol.requests.sampling import SamplingParams

from ..shells import acting
from .vocabularies import byte_level


def config(folder: Path) -> DetokenizerConfig:
    info = ModelFacts(
        path=str(folder), model_type="fake", layers=1, hidden=8, vocab=300, context=64,
        kv_groups=(KvGroup(layers=(0,), kv_heads=1, key_dim=8, value_dim=8),),
        eos_token_ids=(), dtype="float32", fingerprint="",
    )  # fmt: skip
    return DetokenizerConfig(model=info)


async def test_text_goes_to_the_client_and_the_cut_to_the_scheduler(tmp_path: Path) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    actor = Detokenizer(Launch("detokenizer", 0, str(tmp_path), ""))
    async with acting(actor, config(tmp_path)) as sent:
        ids = tuple(byte_level().encode("hi stop there").ids)
        actor.on_message(
            "scheduler", Open("r", 0, "client-a.0", SamplingParams(stop=("stop",)), ())
        )
        actor.on_message("scheduler", Outputs((Output("r", 0, 0, 0, ids),)))
        actor.on_message("scheduler", Close("r", 0, Usage(1, 0, {}, 0), ()))
        assert [(role, type(message)) for role, message in sent] == [
            ("client-a.0", Deltas),
            ("scheduler", Stopped),
            ("client-a.0", Finished),
        ]
        assert sent.of(Deltas)[0].deltas[0].text == "hi "
        assert (actor.counters()["finished"], actor.counters()["open_requests"]) == (1, 0)


async def test_a_checkpoint_without_a_tokenizer_is_said_so(tmp_path: Path) -> None:
    actor = Detokenizer(Launch("detokenizer", 0, str(tmp_path), ""))
    with pytest.raises((EngineError, BaseExceptionGroup)) as caught:
        async with acting(actor, config(tmp_path)):
            pass
    error = caught.value
    assert isinstance(
        error if not isinstance(error, BaseExceptionGroup) else error.exceptions[0], EngineError
    )


async def test_requests_end_with_their_client_and_with_the_scheduler(tmp_path: Path) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    actor = Detokenizer(Launch("detokenizer", 0, str(tmp_path), ""))
    async with acting(actor, config(tmp_path)):
        for id, client in (("r", "client-a.0"), ("s", "client-b.0"), ("t", "client-b.0")):
            actor.on_message("scheduler", Open(id, 0, client, SamplingParams(), ()))
        actor.peers.gone(Gone("client-a", 0))
        actor.on_gone(Gone("client-a", 0))
        actor.on_message(
            "scheduler", Open("u", 0, "client-a.0", SamplingParams(), ())
        )  # the scheduler heard of it later
        actor.on_end(("s",))
        assert actor.counters()["open_requests"] == 1
        actor.on_gone(Gone("scheduler", 0))
        assert actor.counters()["open_requests"] == 0
