"""How an engine ends: what was accepted finishes, everybody stops, whoever is left is killed."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Protocol

from ...protocol.edges.control import Drain, Status, Stop
from ...protocol.topology import HTTP
from ...protocol.wire import Message
from .config import DirectorConfig
from .processes import kill, reap_all
from .roster import ClientRecord, Member, Roster
from .supervisor import Supervisor

log = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 2.0
"""For the HTTP frontend to tell its callers of an end that came before theirs."""
STOP_SECONDS = 5.0
"""From Stop to SIGKILL."""
REAP_SECONDS = 5.0
"""From SIGKILL to the end, which only a process stuck in the kernel outlasts."""
ENDED = "The engine was stopped."


class Ending(Protocol):
    """What the end needs of the director."""

    config: DirectorConfig
    supervisor: Supervisor
    roster: Roster
    fatal: str | None
    """Why the engine gave up, if it has."""
    now: asyncio.Event
    """Set by the second signal: nobody is waited for any more."""

    def send(self, one: Member | ClientRecord, message: Message) -> None: ...

    def status(self, ended: str | None = None) -> Status: ...


async def end_in_order(director: Ending) -> None:
    """End every process of the engine and reap it."""
    supervisor, server = director.supervisor, director.config.server
    if server is not None and director.fatal is None:
        await _drain(director, server.drain_timeout)
    supervisor.closing = True
    status = director.status(ended=director.fatal or ENDED)
    for client in director.roster.clients.values():
        director.send(client, status)
    # Before the others: it tells its callers what it heard just now.
    await _end_http(director, LAST_WORDS_SECONDS)
    if server is not None and server.listen_fd is not None:
        os.close(server.listen_fd)  # nobody answers there any more, so nobody need wait
    for member in supervisor.alive:
        if member.state == "ready":
            director.send(member, Stop())
        elif member.pid is not None:  # it would hear Stop only when it has finished loading
            kill(member.pid)
    supervisor.zygote.close()
    await _until(director, lambda: not supervisor.alive, STOP_SECONDS, hasten=True)
    for member in supervisor.alive:
        if member.pid is not None:
            log.warning("%s did not stop and is killed", member.role)
            kill(member.pid)
    await _until(
        director, lambda: not supervisor.alive and supervisor.zygote.pid is None, REAP_SECONDS
    )
    reap_all()


async def _drain(director: Ending, seconds: float) -> None:
    """No client submits anything new; what was accepted has `seconds` to finish, and who dies
    meanwhile is replaced."""
    deadline = asyncio.get_running_loop().time() + seconds
    roster = director.roster
    for client in roster.clients.values():
        director.send(client, Drain())
    if (http := roster.members.get(HTTP)) is not None:
        http.retired = True  # its callers would be gone

    def done() -> bool:
        drained = all(client.drained for client in roster.clients.values())
        return director.fatal is not None or drained

    await _until(director, done, seconds, hasten=True)
    if director.fatal is None:
        await _end_http(director, deadline - asyncio.get_running_loop().time(), hasten=True)


async def _end_http(director: Ending, seconds: float, hasten: bool = False) -> None:
    """It ends when its last answer has been read; until then it goes on refusing what is new."""
    http = director.roster.members.get(HTTP)
    if http is not None and http.state == "ready":
        director.send(http, Stop())
        await _until(director, lambda: http.pid is None, seconds, hasten)


async def _until(
    director: Ending, done: Callable[[], bool], seconds: float, hasten: bool = False
) -> None:
    """Wait for deaths until `done`, at most `seconds`; `hasten`: a second signal ends it."""
    changed = director.supervisor.changed
    try:
        async with asyncio.timeout(seconds):
            while not done() and not (hasten and director.now.is_set()):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        return
