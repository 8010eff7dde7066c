"""Engines without torch, for tests of what has no use for it: real actors around a fake runner and
a fake encoder."""

from collections.abc import Mapping
from typing import Any

from thespis.actors.director.config import FORKED, MODULES, Cast

from .engines import cast_of, forked_together
from .facts import known_facts

TORCHLESS = {
    "gpu-runner": "fake_runner",
    "encoder-cache": "fake_encoder_cache",
    "decode-worker": "plain",
}
"""Modules by role."""
SHELLS = ("fetcher", "preprocessor", "scheduler", "detokenizer")
"""Started by themselves as shipped, as the director's own tests do with fakes, and whatever starts
a whole engine without `served`: the Python faces, the commands, the campaigns."""


def played_by(modules: Mapping[str, str] | None, model: str = "") -> dict[str, Any]:
    """Of `start_engine`: these modules of `fakes/`. Where none needs torch, or all are played as
    shipped, all are forked from one process."""
    facts = known_facts(model, modules)
    if not modules:
        preload = (*Cast().imports(), *(MODULES[kind] for kind in SHELLS))
        return {"cast": cast_of(None, facts, forked=(*FORKED, *SHELLS), preload=preload)}
    played = {kind: MODULES[kind] for kind in SHELLS} | dict(modules or {})
    together = {} if facts is None else forked_together(played)
    return {"cast": cast_of(modules, facts, **together)}


PRELUDE = """
from functools import partial
from thespis.frontends import engine
from thespis.tests.helpers.torchless import TORCHLESS, played_by
engine.start_engine = partial(engine.start_engine, **played_by(TORCHLESS))
"""
"""Of a program in a process of its own: whatever engine it starts is such a one. Texts only."""
