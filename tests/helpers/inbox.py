"""An inbox whose messages lie ready, and the news of a death that comes between them."""

import zmq

from thespis.protocol.edges.control import Gone


class FakeInbox:
    """Holds `count` messages; before the last of them the news comes."""

    def __init__(self, count: int, news: list[Gone], gone: Gone) -> None:
        self._count = count
        self._news, self._gone = news, gone

    def getsockopt(self, option: int) -> int:
        return int(zmq.POLLIN) if option == zmq.EVENTS and self._count else 0

    def recv(self, flags: int) -> bytes:
        self._count -= 1
        if not self._count:
            self._news.append(self._gone)
        return b""
