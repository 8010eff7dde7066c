"""The body of a streamed answer, server-sent events as they come, to one caller."""

from aiohttp import HttpVersion11, web

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class EventStream:
    """Writes past aiohttp's writer, which takes longer, while the caller keeps up."""

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        self._request = request
        self.response = web.StreamResponse(headers={**HEADERS, **headers})
        self._may_pass = False
        """The head has been written, with the first events, and says that chunks follow."""

    async def open(self) -> None:
        """The head; it is sent with the first events."""
        if self._request.version >= HttpVersion11:
            self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)

    async def write(self, events: bytes) -> None:
        """Waits for a caller that is slow; raises ConnectionError where it has gone."""
        assert events, "a chunk of nothing ends the body"
        transport = self._request.transport
        if (
            self._may_pass
            and transport is not None
            and not (transport.is_closing() or transport.get_write_buffer_size())
        ):
            transport.write(b"%x\r\n%b\r\n" % (len(events), events))
            return
        await self.response.write(events)
        self._may_pass = self.response.chunked
