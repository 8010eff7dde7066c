"""A conversation at a terminal: what is typed is done, what is answered is shown."""

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ....protocol.errors import EngineError
from ..api import Api, ApiError
from ..demo import PARTS
from ..files import named, read
from ..printing import printable
from . import saved
from .answering import ChatAnswer, ask
from .keyboard import at_interrupt, nothing
from .lines import ChatCommand, LineReader
from .paths import plain_path
from .session import ChatSession
from .settings import SettingError, Settings

HELP = '''\
/image PATH, /video PATH, /audio PATH,  attach a file to the next message; a path that is dropped or
/document PATH                          written into a line is attached, too
"""                                     begins a message of several lines, and ends it
/set [NAME VALUE]                       what may be set and what is, or set it: temperature, ...
/show                                   the model, and what has been said so far, in numbers
/save FILE, /load FILE                  keep the conversation in a file, or go on with one
/retry                                  answer the last message again
/clear                                  start a new conversation
/bye, /quit                             leave, as Ctrl-D; Ctrl-C stops an answer or clears the line\
'''
COMMANDS = (*PARTS, "set", "show", "save", "load", "retry", "clear", "help", "bye", "quit")
LEAVING = ("bye", "quit", "exit")
PROMPT, MORE = "\n> ", "... "
BEGIN_ANEW = "/clear begins a new conversation; /save FILE keeps this one before"


class Shell:
    """One conversation with one model."""

    def __init__(self, api: Api, model: str, session: ChatSession, settings: Settings) -> None:
        self.session, self.settings = session, settings
        self._api, self._model = api, model

    async def talk(self, read: Callable[[str], str | None]) -> None:
        """`read` blocks, and nothing else runs meanwhile: the terminal is the only source of
        events. It is given the prompt, and raises KeyboardInterrupt for Ctrl-C."""
        lines = LineReader()
        with at_interrupt(nothing):
            while True:
                try:
                    line = read(MORE if lines.inside else PROMPT)
                except KeyboardInterrupt:
                    print()  # the line is gone; the next prompt begins a new one
                    lines.drop()
                    continue
                if line is None:
                    return
                match lines.feed(line):
                    case None:
                        pass
                    case ChatCommand(name) if name in LEAVING:
                        return
                    case ChatCommand() as command:
                        await self._do(command)
                    case message:
                        await self.say(message.text, message.typed)

    async def say(self, text: str, typed: bool = True) -> None:
        """A message, or files for the next one."""
        words, notes = self.session.take_paths(text, typed)
        for note in notes:
            _tell(note)
        if words:
            before = list(self.session.messages)
            self.session.say(words)
            await self._answer(before)

    async def _do(self, command: ChatCommand) -> None:
        try:
            if command.name == "retry":
                await self._retry()
            else:
                _tell(self.command(command))
        except (EngineError, SettingError) as error:
            _tell(str(error))

    def command(self, command: ChatCommand) -> str:
        """Does it; what is to be said. Raises EngineError, SettingError."""
        name, rest = command.name, command.rest.strip()
        match name:
            case "" | "?" | "help":
                return HELP
            case "set":
                return self.settings.set(command.rest)
            case "show":
                return self._shown()
            case "clear":
                self.session.replace([])
                return "the conversation is forgotten"
            case _ if name in PARTS and rest:
                return self.session.attach(name, plain_path(rest))
            case "save" | "load" if rest:
                path = named(plain_path(rest))
                return self._save(path) if name == "save" else self._load(path)
            case _ if name in PARTS or name in ("save", "load"):
                return f"/{name} needs a path"
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        return (
            f"there is no /{name}" + (f"; did you mean /{near[0]}?" if near else "") + f"\n{HELP}"
        )

    def _shown(self) -> str:
        said = [message["role"] for message in self.session.messages]
        set_now = self.settings.values()
        names = ", ".join(set_now) if set_now else "nothing"
        return (
            f"model     {self._model}\nserver    {self._api.base_url}\n"
            f"messages  {said.count('user')} and {said.count('assistant')} answers\n"
            f"attached  {len(self.session.waiting)} for the next message\n"
            f"set       {names}"
            + (f"\nsystem    {self.settings.system}" if self.settings.system else "")
        )

    def _save(self, path: Path) -> str:
        saved.write(path, saved.encode(self._model, self.settings, self.session.messages))
        return f"{_messages(self.session)} in {path}"

    def _load(self, path: Path) -> str:
        self.settings, messages = saved.decode(read(path))
        self.session.replace(messages)
        return f"{_messages(self.session)} remembered"

    async def _retry(self) -> None:
        before = list(self.session.messages)
        if self.session.again():
            await self._answer(before, again=True)
        else:
            self.session.messages = before
            _tell("there is nothing to answer again")

    async def _answer(self, before: list[dict[str, Any]], again: bool = False) -> None:
        """`before`: the messages where nothing comes of it."""
        answer = await self.ask()
        if answer.stopped:
            _tell("\n[stopped]")
        elif answer.error is not None:
            _tell(f"\n{answer.error}")
            if answer.too_long and len(self.session.messages) > 1:
                _tell(BEGIN_ANEW)
        elif answer.text.strip() or answer.thinks:
            print()
        else:
            _tell("[an answer without words]")
        if answer.words:
            self.session.hear(answer.text)
            if self.settings.verbose:
                _tell(answer.figures())
        elif again:
            self.session.messages = before
        else:
            self.session.take_back()

    async def ask(self) -> ChatAnswer:
        """Shown as it comes."""
        system = self.settings.system
        begin = [{"role": "system", "content": system}] if system else []
        body = {
            "model": self._model,
            "messages": begin + self.session.messages,
            "stream_options": {"include_usage": True},
            **self.settings.fields(),
        }
        return await ask(self._api, body)


def _messages(session: ChatSession) -> str:
    count = len(session.messages)
    return "1 message is" if count == 1 else f"{count} messages are"


def _tell(text: str) -> None:
    print(printable(text), flush=True)


async def one_question(shell: Shell, question: str) -> int:
    """Asks it and shows nothing but the answer; the exit code. Raises ApiError."""
    shell.session.say(question)
    answer = await shell.ask()
    print(flush=True)
    if answer.error is not None:
        raise ApiError(answer.error)
    if shell.settings.verbose:
        print(answer.figures(), file=sys.stderr)
    return 130 if answer.stopped else 0
