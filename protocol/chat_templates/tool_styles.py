"""Which style of calls a model has: as its operator says, or as its chat template shows. Pure."""

from typing import Literal, cast

ToolParser = Literal[
    "auto", "hermes", "json", "llama3_json", "qwen3_coder", "qwen3_xml", "mistral", "pythonic",
    "llama4_pythonic", "lfm2", "glm45", "gemma4",
]  # fmt: skip
Style = Literal["hermes", "json", "qwen3_coder", "mistral", "pythonic", "glm45", "gemma4"]
OTHER_NAMES: dict[str, Style] = {
    "llama3_json": "json",
    "qwen3_xml": "qwen3_coder",
    "llama4_pythonic": "pythonic",
    "lfm2": "pythonic",
}
SHOWN: tuple[tuple[str, Style], ...] = (
    ("<|tool_call>", "gemma4"),
    ("[TOOL_CALLS]", "mistral"),
    ("<function=", "qwen3_coder"),
    ("<arg_key>", "glm45"),
    ("<|tool_call_start|>", "pythonic"),
    ("<tool_call>", "hermes"),
    ("<|python_start|>", "pythonic"),
    ("[func_name1(", "pythonic"),
)
"""What a template writes whose model has a style; the first that is found decides."""


def style_of(told: str, template: str | None) -> Style:
    """`told`: the setting. A template that knows no tools says nothing."""
    if told != "auto":
        return OTHER_NAMES.get(told) or cast(Style, told)
    for shown, style in SHOWN:
        if shown in (template or ""):
            return style
    return "json" if "tools" in (template or "") else "hermes"
