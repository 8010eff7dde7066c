"""The real fetcher, preprocessor, scheduler and detokenizer, each with one thing that it dies of,
every time."""

import importlib
import os
from typing import Any

from thespis.actors.kernel.actor import run
from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.client_to_fetcher import Fetch
from thespis.protocol.edges.client_to_preprocessor import Prepare, Tokenize
from thespis.protocol.edges.client_to_scheduler import Resume
from thespis.protocol.edges.preprocessor_to_scheduler import Submit
from thespis.protocol.edges.scheduler_to_detokenizer import Open
from thespis.protocol.requests.request import Request, TextPrompt, TokenPrompt, Url

POISON = {
    "preprocessor": (88, 87, 88, 87, 81),
    "scheduler": (88, 87, 88, 87, 82),
    "detokenizer": (88, 87, 88, 87, 83),
}
"""Prompts by role."""
PAGE, TEXT = "poison", "a text that cannot be tokenised"
CLASSES = {
    "fetcher": ("thespis.actors.fetcher.actor", "Fetcher"),
    "preprocessor": ("thespis.actors.preprocessor.actor", "Preprocessor"),
    "scheduler": ("thespis.actors.scheduler.actor", "SchedulerActor"),
    "detokenizer": ("thespis.actors.detokenizer.actor", "Detokenizer"),
}


def is_deadly(role: str, message: Any) -> bool:
    match role, message:
        case "fetcher", Fetch(Request(media=media)):
            return any(
                isinstance(item.source, Url) and item.source.url.endswith(PAGE) for item in media
            )
        case "preprocessor", Prepare(Request(prompt=TokenPrompt(token_ids))):
            return token_ids == POISON[role]
        case "preprocessor", Tokenize(Request(prompt=TextPrompt(text))):
            return text == TEXT
        case "scheduler", Submit(prepared) | Resume(prepared):
            return prepared.token_ids == POISON[role]
        case "detokenizer", Open():
            return bool(message.prompt_token_ids == POISON[role])
    return False


def main(launch: Launch) -> None:
    module, name = CLASSES[launch.role]
    base = getattr(importlib.import_module(module), name)

    class Poisoned(base):  # type: ignore[misc, valid-type]
        def on_message(self, sender: str, message: Any) -> None:
            if is_deadly(launch.role, message):
                os.abort()
            super().on_message(sender, message)

    run(Poisoned(launch))
