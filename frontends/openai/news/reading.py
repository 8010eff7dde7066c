"""How the text of an answer is read, as its request says. Pure."""

import msgspec

from ....protocol.chat_templates.reasoning import Marks
from ....protocol.requests.request import ChatPrompt, Text
from ..tools.definitions import ToolUse


class Reading(msgspec.Struct, frozen=True):
    """How the text of an answer is read."""

    tools: ToolUse | None = None
    """The functions that it may call."""
    marks: Marks | None = None
    """Of thinking; None: nobody looks for it."""
    tells_thinking: bool = True
    """Otherwise thinking is left out."""
    follows_words: bool = False
    """It goes on from words of its caller's, so white space at its beginning is its own."""

    @property
    def keeps_special(self) -> bool:
        """Special tokens must stay in the text: what is looked for may be such."""
        called = self.tools is not None and self.tools.style != "json"
        return called or (self.marks is not None and self.marks.special)

    @property
    def plain(self) -> bool:
        """All of the text is words."""
        return self.tools is None and self.marks is None


def reading_of(
    prompt: ChatPrompt, tools: ToolUse | None, marks: Marks | None, tells_thinking: bool = True
) -> Reading:
    """Of the answer to a conversation."""
    return Reading(tools, marks, tells_thinking, marks is not None and _in_words(prompt, marks))


def _in_words(prompt: ChatPrompt, marks: Marks) -> bool:
    """The caller has begun the answer, and not stopped at a mark."""
    if not prompt.continue_final_message:
        return False
    said = "".join(part.text for part in prompt.messages[-1].content if isinstance(part, Text))
    opened = (marks.open, marks.open + marks.title.rstrip())
    return not said.rstrip().endswith((*opened, marks.close))
