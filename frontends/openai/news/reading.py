"""How the text of an answer is read, as its request says. Pure."""

import msgspec

from ....protocol.chat_templates.reasoning import Marks
from ..tools.definitions import ToolUse


class Reading(msgspec.Struct, frozen=True):
    """How the text of an answer is read."""

    tools: ToolUse | None = None
    """The functions that it may call."""
    marks: Marks | None = None
    """Of thinking; None: nobody looks for it."""
    tells_thinking: bool = True
    """Otherwise thinking is left out."""

    @property
    def keeps_special(self) -> bool:
        """Special tokens must stay in the text: what is looked for may be such."""
        called = self.tools is not None and self.tools.style != "json"
        return called or (self.marks is not None and self.marks.special)

    @property
    def plain(self) -> bool:
        """All of the text is words."""
        return self.tools is None and self.marks is None
