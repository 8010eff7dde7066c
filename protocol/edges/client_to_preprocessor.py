"""client -> preprocessor: requests whose media, if any, are here already."""

from ..requests.request import Request
from ..wire import Message


class Prepare(Message, frozen=True):
    request: Request


class Tokenize(Message, frozen=True):
    """For /tokenize and for a frontend's own counting: answered with `Tokenized`, no generation."""

    request: Request


ClientToPreprocessor = Prepare | Tokenize
