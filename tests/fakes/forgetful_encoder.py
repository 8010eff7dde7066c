"""The fake encoder-cache, which has lost every item when it is asked for it the first time."""

from typing import Any

from thespis.actors.kernel.launch import Launch
from thespis.protocol.edges.encoder_cache_to_scheduler import Lost
from thespis.protocol.edges.scheduler_to_encoder_cache import Need
from thespis.tests.fakes.fake_encoder_cache import FakeEncoderCache


class ForgetfulEncoder(FakeEncoderCache):
    def on_start(self, config: bytes) -> dict[str, int]:
        self._forgotten: set[str] = set()
        return super().on_start(config)

    def on_message(self, sender: str, message: Any) -> None:
        if isinstance(message, Need) and (new := set(message.keys) - self._forgotten):
            self._forgotten |= new
            for key in message.keys:
                self.send("scheduler", Lost(key, (message.holder,)))
        else:
            super().on_message(sender, message)


def main(launch: Launch) -> None:
    ForgetfulEncoder(launch).run()
