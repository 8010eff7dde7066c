"""The whole answer to one prompt, gathered from the updates of its stream. Pure."""

from ...protocol.edges.detokenizer_to_client import Finished, PositionLogprobs
from ...protocol.edges.scheduler_to_detokenizer import Vectors
from ...protocol.requests.prepared import ItemSource
from .stream import Choice, Update


class Answer:
    """Everything that the updates of one prompt brought."""

    def __init__(self, n: int) -> None:
        self.choices = [Choice(index) for index in range(n)]
        self.finished: Finished | None = None
        self.prompt_token_ids: tuple[int, ...] = ()
        self.prompt_logprobs: list[PositionLogprobs] | None = None
        self.vectors: Vectors | None = None
        self.sources: tuple[ItemSource, ...] = ()
        """Of the prompt's media."""

    @property
    def pooled(self) -> Vectors:
        """Of a request for vectors that has ended well."""
        assert self.vectors is not None, "a request that wants vectors ends well with them"
        return self.vectors

    def add(self, update: Update) -> None:
        for grown in update.choices:
            self.choices[grown.index].add(grown)
        self.note(update)

    def note(self, update: Update) -> None:
        """Only what is told at the end: for a stream, whose text has been sent already."""
        if update.prompt_logprobs is not None:
            self.prompt_logprobs = [*(self.prompt_logprobs or ()), *update.prompt_logprobs]
        if update.vectors is not None:
            self.vectors = update.vectors
        if update.finished is not None:
            self.finished = update.finished
