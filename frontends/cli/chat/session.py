"""What has been said, and the media of the next message."""

from typing import Any

from ....protocol.errors import EngineError
from ..demo import media_part
from ..files import named
from ..printing import well_formed
from .paths import Found, find_paths, without


class ChatSession:
    """Only files are read."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.waiting: list[dict[str, Any]] = []
        """Content parts."""
        self._refused: dict[str, Any] | None = None
        """The last message, where nothing was answered to it: /retry asks it again."""

    def attach(self, kind: str, given: str) -> str:
        """A file for the next message; what is to be said. Raises EngineError."""
        path = named(given)
        self.waiting.append(media_part(kind, path))
        return f"{path.name} goes with the next message"

    def take_paths(self, text: str, typed: bool = True) -> tuple[str, list[str]]:
        """Attaches the files that a line names; the words that are left, and what is to be said. Of
        several lines only files are read, when there is nothing else in them."""
        found = find_paths(text)
        if not typed and without(text, found):
            return text, []
        taken, said = list[Found](), list[str]()
        for one in found:
            try:
                note = self.attach(one.kind, one.path)
            except EngineError as error:
                said.append(f"{error} It stays text.")
            else:
                taken.append(one)
                said.append(note)
        return without(text, taken), said

    def say(self, text: str) -> None:
        text = well_formed(text)  # not before, as paths are found by their very bytes
        content = [*self.waiting, {"type": "text", "text": text}] if self.waiting else text
        self.messages.append({"role": "user", "content": content})
        self.waiting, self._refused = [], None

    def hear(self, answer: str) -> None:
        self.messages.append({"role": "assistant", "content": answer})
        self._refused = None

    def take_back(self) -> None:
        """A message that was refused must not be refused again with every later one."""
        self._refused = self.messages.pop()

    def again(self) -> bool:
        """Back to before the last answer; whether there is a message to answer."""
        if self._refused is not None:
            self.messages.append(self._refused)
        elif self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()
        return bool(self.messages)

    def replace(self, messages: list[dict[str, Any]]) -> None:
        """Another conversation, or none."""
        self.messages, self.waiting, self._refused = messages, [], None
