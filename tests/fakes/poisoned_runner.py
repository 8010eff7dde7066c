"""The fake runner, with one thing that it dies of: a run of four tokens in a prompt, each time that
it is to compute it."""

import os
from typing import Any

from fake_runner import FakeRunner  # beside this file, on the engine's path

from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan

POISON = (88, 87, 88, 87)


class PoisonedRunner(FakeRunner):  # type: ignore[misc]
    def on_message(self, sender: str, message: Any) -> None:
        if isinstance(message, StepPlan) and any(
            new.token_ids[: len(POISON)] == POISON for new in message.new
        ):
            os.abort()
        super().on_message(sender, message)


def main(launch: Launch) -> None:
    PoisonedRunner(launch).run()
