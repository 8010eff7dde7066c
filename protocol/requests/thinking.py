"""Where a model's thinking ends and its answer begins, by its tokens alone. Whoever gets the same
tokens comes to the same result: the sampler of a request that is run again, too. Pure."""

from collections.abc import Iterable
from typing import Literal

from ..wire import Record

Begins = Literal["thinking", "perhaps", "answer"]


class Thinking(Record, frozen=True):
    """How one request's answer begins, and how long it may think; the preprocessor says it."""

    open_id: int
    """The token that opens thinking."""
    close_id: int
    """The token that ends it."""
    begins: Begins
    """The prompt has opened it; the answer's first token may open it; the prompt has ended it."""
    budget: int | None = None
    """Tokens between the two; then the one that ends it is forced."""

    @property
    def known(self) -> bool:
        """Whether each mark is a token of the model; otherwise its text alone tells."""
        return self.open_id >= 0 and self.close_id >= 0


class Thought:
    """Where one choice stands."""

    def __init__(self, thinking: Thinking, output: Iterable[int] = ()) -> None:
        self._thinking = thinking
        self.state: Begins = thinking.begins
        self.tokens = 0
        """Thought so far, without the two marks."""
        self.said: list[int] = [token for token in output if self.advance(token)]
        """Of `output`, what belongs to the answer."""

    def advance(self, token: int) -> bool:
        """Whether `token` belongs to the answer."""
        if self.state == "answer":
            return True
        if self.state == "perhaps":
            opened = token == self._thinking.open_id
            self.state = "thinking" if opened else "answer"
            return not opened
        if token == self._thinking.close_id:
            self.state = "answer"
        else:
            self.tokens += 1
        return False

    @property
    def marks(self) -> tuple[int, int]:
        return self._thinking.open_id, self._thinking.close_id

    @property
    def may_open(self) -> int | None:
        """The token that may open thinking now."""
        return self._thinking.open_id if self.state == "perhaps" else None

    @property
    def forced(self) -> int | None:
        """The only token that may come now."""
        budget = self._thinking.budget
        spent = self.state == "thinking" and budget is not None and self.tokens >= budget
        return self._thinking.close_id if spent else None
