"""What the text of one choice says: thinking, words and calls, in the order in which they come, for
all APIs that answer conversations. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from ....protocol.requests.sampling import SamplingParams
from ...client.stream import Choice
from ..tools.arguments import as_object
from ..tools.json_reader import Words
from ..tools.tool_calls import ToolArguments, ToolCall, ToolCalls
from .reading import Reading
from .splitter import Splitter


class Thinking(NamedTuple):
    """What the model thinks before it answers."""

    text: str


News = Thinking | Words | ToolCall | ToolArguments


class AnswerReader:
    """Of one choice."""

    def __init__(self, reading: Reading, sampling: SamplingParams | None = None) -> None:
        """`sampling`: as it was prepared, which says whether the prompt has opened thinking."""
        thinking = None if sampling is None else sampling.thinking
        begins = "perhaps" if thinking is None else thinking.begins
        self._tells = reading.tells_thinking
        self._thinks = None
        if reading.marks is not None:
            self._thinks = Splitter(reading.marks, begins, reading.follows_words)
        self._calls = None if reading.tools is None else ToolCalls(reading.tools)
        self._held: HeldCall | None = None
        """The call that is being read, where a text of the caller's may cut it."""
        self._holds = bool(sampling is not None and sampling.stop)
        self._cut = 0
        """Calls that are told as words."""
        self._spoken = False
        """There are words before them."""

    def read(self, choice: Choice) -> Iterator[News]:
        """What is certain once this part of its text has come."""
        over, text = choice.finish_reason is not None, choice.text
        if self._thinks is not None:
            pieces = [self._thinks.feed(text), *([self._thinks.finish()] if over else ())]
            thought, text = ("".join(parts) for parts in zip(*pieces, strict=True))
            if thought and self._tells:
                yield Thinking(thought)
        if self._calls is not None:
            found = self._calls.split(text, over)
            yield from self._whole(found, choice) if self._holds else found
        elif text:
            yield Words(text)

    def reason(self, given: str | None) -> str | None:
        """The finish reason: `tool_calls` for an answer that stopped by itself and has a call."""
        called = self._calls is not None and self._calls.count > self._cut
        return "tool_calls" if given == "stop" and called else given

    def _whole(self, found: Iterator[News], choice: Choice) -> Iterator[News]:
        """Each call when it is over. The last one may have been cut by a text that ends the answer:
        half of a call is none, and must not be taken for one."""
        for news in found:
            match news:
                case ToolCall():
                    yield from self._let_go()
                    self._held = HeldCall(news, [])
                case ToolArguments(_, text) if self._held is not None:
                    self._held.pieces.append(text)
                case _:
                    yield from self._let_go()
                    self._spoken = self._spoken or isinstance(news, Words)
                    yield news
        if choice.finish_reason is not None:
            yield from self._let_go(cut=isinstance(choice.stop_reason, str))

    def _let_go(self, cut: bool = False) -> Iterator[News]:
        held, self._held = self._held, None
        if held is None:
            return
        text = "".join(held.pieces)
        if cut and as_object(text) is None:
            self._cut += 1
            line = "\n" if self._spoken else ""
            yield Words(f"{line}{held.call.name}: {text}")
            return
        yield held.call
        if text:
            yield ToolArguments(held.call.number, text)


class HeldCall(NamedTuple):
    """A call that is not told before it is over."""

    call: ToolCall
    pieces: list[str]
    """Of its arguments."""


class GivenCall(NamedTuple):
    id: str
    name: str
    arguments: str
    """JSON text."""


class Gathered:
    """All news of one choice together, for an answer that comes whole."""

    def __init__(self) -> None:
        self._thinking: list[str] = []
        self._words: list[str] = []
        self._calls: list[tuple[ToolCall, list[str]]] = []

    def add(self, news: News) -> None:
        match news:
            case Thinking(text):
                self._thinking.append(text)
            case Words(text):
                self._words.append(text)
            case ToolCall():
                self._calls.append((news, []))
            case ToolArguments(_, text):
                self._calls[-1][1].append(text)

    @property
    def thinking(self) -> str:
        return "".join(self._thinking)

    @property
    def words(self) -> str:
        return "".join(self._words)

    @property
    def calls(self) -> list[GivenCall]:
        return [GivenCall(one.id, one.name, "".join(pieces)) for one, pieces in self._calls]
