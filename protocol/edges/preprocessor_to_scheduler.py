"""preprocessor -> scheduler: work."""

from ..requests.prepared import Prepared
from ..wire import Message


class Submit(Message, frozen=True):
    prepared: Prepared


PreprocessorToScheduler = Submit
