"""How an engine ends: the HTTP frontend drains first, then everybody stops, then whoever is left is killed."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...protocol.edges.control import Stop
from .processes import kill, reap_all

if TYPE_CHECKING:
    from .actor import Director

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""From Stop to SIGKILL."""
REAP_SECONDS = 5.0
"""From SIGKILL to the end, which only a process stuck in the kernel outlasts."""
ENDED = "The engine was stopped."


async def end_in_order(director: "Director") -> None:
    """End every process of the engine and reap it."""
    company = director.company
    http = director.roster.members.get("http")
    server = director.config.server
    if http is not None and http.state == "ready" and server is not None and director.fatal is None:
        http.retired = True
        director.send(http, Stop())
        await _until(director, lambda: http.pid is None, server.drain_timeout, hasten=True)
    company.closing = True
    status = director.status(ended=director.fatal or ENDED)
    for guest in director.roster.guests.values():
        director.send(guest, status)
    for member in company.alive:
        if member.state == "ready":
            director.send(member, Stop())
        elif member.pid is not None:  # it would hear Stop only when it has finished loading
            kill(member.pid)
    company.close_zygote()
    await _until(director, lambda: not company.alive, STOP_SECONDS, hasten=True)
    for member in company.alive:
        if member.pid is not None:
            log.warning("%s did not stop and is killed", member.role)
            kill(member.pid)
    await _until(director, lambda: not company.alive and company.zygote_pid is None, REAP_SECONDS)
    reap_all()


async def _until(director: "Director", done: Callable[[], bool], seconds: float, hasten: bool = False) -> None:
    """Wait for deaths until `done`, at most `seconds`; with `hasten` a second signal ends the wait."""
    changed = director.company.changed
    try:
        async with asyncio.timeout(seconds):
            while not done() and not (hasten and director.now.is_set()):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        return
