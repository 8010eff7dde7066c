"""An inbox whose messages lie ready, and the news of a death that comes between them."""

import zmq

from thespis.protocol.edges.control import Gone
from thespis.protocol.wire import encode


class FakeLink:
    """A socket to the director, which has said `news`."""

    def __init__(self, news: list[Gone]) -> None:
        self._news = news

    def getsockopt(self, option: int) -> int:
        return int(zmq.POLLIN) if option == zmq.EVENTS and self._news else 0

    def recv(self, flags: int) -> bytes:
        return encode(self._news.pop())


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
