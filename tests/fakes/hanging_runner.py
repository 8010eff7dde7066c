"""The fake runner, with one prompt token at which it hangs, and little patience with a handler that
does."""

import threading
from typing import Any

from fake_runner import FakeRunner  # beside this file, on the engine's path

import thespis.actors.kernel.link
from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan

HANGS_AT = 89


class HangingRunner(FakeRunner):  # type: ignore[misc]
    def on_message(self, sender: str, message: Any) -> None:
        if isinstance(message, StepPlan) and any(HANGS_AT in new.token_ids for new in message.new):
            threading.Event().wait()
        super().on_message(sender, message)


def main(launch: Launch) -> None:
    thespis.actors.kernel.link.HANG_SECONDS = 0.5
    HangingRunner(launch).run()
