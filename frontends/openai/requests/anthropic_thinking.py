"""`thinking` and `effort` of Anthropic's calls: switches of a template, and a budget. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ....protocol.errors import invalid
from ...inputs.unread import Unread
from ...validation import expect_text

KINDS = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
"""Whether the model is to think; how often it does so is its own affair."""


class AskedThinking(NamedTuple):
    switches: dict[str, Any]
    """For the chat template, which may know them."""
    budget: int | None = None
    """Tokens."""
    shown: bool = True


def read_thinking(
    given: Mapping[str, Any] | None, effort: Any, thinks: bool, unread: Unread
) -> AskedThinking:
    """`thinks`: the model does; of another one what is asked of it has no effect, and is told."""
    switches: dict[str, Any] = {}
    if effort is not None:
        word = expect_text(effort, "output_config.effort")
        if thinks:
            switches["reasoning_effort"] = word
        else:
            unread.tell("output_config.effort")
    if given is None:
        return AskedThinking(switches)
    unread.check(given, ("type", "budget_tokens", "display"), "thinking")
    kind, budget = given.get("type"), given.get("budget_tokens")
    if not isinstance(kind, str) or kind not in KINDS:
        raise invalid(f"The types are {', '.join(KINDS)}.", "thinking.type", "unsupported")
    if kind == "enabled" and budget is None:
        raise invalid("This field is required.", "thinking.budget_tokens", "missing_field")
    if budget is not None and type(budget) is not int:
        raise invalid("Expected int.", "thinking.budget_tokens", "wrong_type")
    if not thinks:
        if KINDS[kind]:
            unread.tell("thinking")
        return AskedThinking(switches)
    switches["enable_thinking"] = KINDS[kind]
    return AskedThinking(switches, budget, given.get("display") != "omitted")
