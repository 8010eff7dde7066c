"""The real detokenizer, which never says that an answer of three tokens is whole."""

from typing import Any

from thespis.actors.detokenizer.actor import Detokenizer
from thespis.actors.kernel.actor import run
from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.scheduler_to_detokenizer import Close, Open

TOKENS = 3


class HoldingDetokenizer(Detokenizer):
    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._held: set[str] = set()

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Open(id, sampling=sampling) if sampling.max_tokens == TOKENS:
                self._held.add(id)
            case Close(id) if id in self._held:
                return
        super().on_message(sender, message)


def main(launch: Launch) -> None:
    run(HoldingDetokenizer(launch))
