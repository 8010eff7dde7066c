"""How models mark their thinking, and which marks a chat template's model writes. Pure."""

from typing import Literal, NamedTuple

ReasoningParser = Literal["auto", "none", "qwen3", "glm45", "deepseek_r1", "gemma4", "mistral"]
"""What an operator may say; the names are vLLM's."""


class Marks(NamedTuple):
    """Around what a model thinks before it answers."""

    open: str
    close: str
    title: str = ""
    """A line that follows the opening mark and belongs to it."""
    special: bool = False
    """They are special tokens, which are usually left out of an answer's text."""
    assumed: bool = False
    """An answer begins with thinking even where nobody has opened it."""


_TAGS = Marks("<think>", "</think>")
MARKS: dict[str, Marks] = {
    "qwen3": _TAGS,
    "glm45": _TAGS,
    "deepseek_r1": _TAGS._replace(assumed=True),
    "gemma4": Marks("<|channel>", "<channel|>", "thought\n", special=True),
    "mistral": Marks("[THINK]", "[/THINK]", special=True),
}
_THINKERS = frozenset({"glm4v", "glm4v_moe"})
"""Types of models that think although their templates do not say so."""


def marks_of(told: str, template: str | None, model_type: str) -> Marks | None:
    """`told`: the setting. None: the model does not think, or nobody wants to know."""
    if told != "auto":
        return MARKS.get(told)
    for name in ("gemma4", "mistral", "qwen3"):
        if (marks := MARKS[name]).close in (template or ""):
            return marks
    return _TAGS if model_type in _THINKERS else None
