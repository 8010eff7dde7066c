"""How the families write calls: one grammar for each style. Pure.

`hermes`:      `<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>`
`qwen3_coder`: `<tool_call><function=add><parameter=a>1</parameter></function></tool_call>`
`glm45`:       `<tool_call>add<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>`
`mistral`:     `[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]`, or
               `[TOOL_CALLS]add[ARGS]{"a": 1}`
`gemma4`:      `<|tool_call>call:add{a:1,b:<|"|>x<|"|>}<tool_call|>`
`pythonic`:    `[add(a=1), add(a=2)]`, which is the whole answer or stands behind a mark
"""

from .blocks import Block, Machine, Malformed, Steps, literal, name_before, one_of, spaces, until
from .json_reader import CallReader
from .literals import NAME, json_object, python_value, tagged_object
from .marked import Marked
from .values import BareValue, quoted


def _key(block: Block, first: bool, name: str) -> None:
    block.tell(("{" if first else ", ") + quoted(name).decode() + ": ")


def hermes(block: Block, mark: str) -> Machine:
    return (yield from _object(block, (yield from spaces())))


def qwen3_coder(block: Block, mark: str) -> Machine:
    """The outer tag may be missing."""
    if mark == "<tool_call>":
        yield from literal("<function=", (yield from spaces()))
    function = (yield from name_before(">"))[:-1]
    block.start(function)
    first = True
    while True:
        tag = yield from one_of(("<parameter=", "</function>"), (yield from spaces()))
        if tag == "</function>":
            block.tell("{}" if first else "}")
            return ""
        name = (yield from name_before(">"))[:-1]
        _key(block, first, name)
        yield from _valued(block, function, name, "</parameter>")
        first = False


def glm45(block: Block, mark: str) -> Machine:
    head = yield from name_before("\n<", (yield from spaces()))
    function, char = head[:-1], head[-1]
    if not function or not all(NAME(letter) for letter in function):
        raise Malformed
    tags, first = ("<arg_key>", "</tool_call>"), True
    while True:
        tag = yield from one_of(tags, (yield from spaces(char)))
        if first:
            block.start(function)
        if tag == "</tool_call>":
            block.tell("{}" if first else "}")
            return ""
        name = list[str]()
        yield from until("</arg_key>", name.append)
        _key(block, first, "".join(name).strip())
        yield from literal("<arg_value>", (yield from spaces()))
        yield from _valued(block, function, "".join(name).strip(), "</arg_value>")
        first, char = False, " "


def _valued(block: Block, function: str, name: str, close: str) -> Steps:
    value = BareValue(block.argument(function, name), block.tell)
    yield from until(close, value.push)
    value.end()
    return ""


def mistral(block: Block, mark: str) -> Machine:
    char = yield from spaces()
    if char in "[{":
        return (yield from _objects(block, char))
    head = yield from name_before("[{", char)
    function, char = head[:-1], head[-1]
    if not function or not all(NAME(letter) for letter in function):
        raise Malformed
    if char == "[":
        tag = yield from one_of(("[ARGS]", "[CALL_ID]"), char)
        if tag == "[CALL_ID]":  # the model's own number of the call
            yield from until("[ARGS]", lambda _: None)
        char = yield from spaces()
    if char != "{":
        raise Malformed
    block.start(function)
    return (yield from json_object(block.tell, char))


def _objects(block: Block, char: str) -> Machine:
    """A list of objects, or one."""
    several = char == "["
    if several:
        char = yield from spaces()
    while True:
        yield from _object(block, char)
        if not several:
            return ""
        char = yield from spaces()
        if char == "]":
            return ""
        if char != ",":
            raise Malformed
        char = yield from spaces()


def _object(block: Block, char: str) -> Machine:
    """One call with its name, up to the closing bracket."""
    if char != "{":
        raise Malformed
    reader = CallReader()
    while True:
        reader.feed(char, block.events)
        block.started |= reader.started
        if reader.bad:
            raise Malformed
        if reader.done:
            return ""
        char = yield


def gemma4(block: Block, mark: str) -> Machine:
    yield from literal("call:", (yield from spaces()))
    function = (yield from name_before("{"))[:-1]
    if not all(NAME(letter) for letter in function):
        raise Malformed
    block.start(function)
    yield from tagged_object(block.tell, 0)
    return ""


def pythonic(block: Block, mark: str) -> Machine:
    if mark != "[" and (yield from spaces()) != "[":
        raise Malformed
    char = yield from spaces()
    while True:
        function = ""
        while NAME(char):
            function, char = function + char, (yield)
        if (yield from spaces(char)) != "(":
            raise Malformed
        block.start(function)
        yield from _keywords(block)
        char = yield from spaces()
        if char == "]":
            return ""
        if char != ",":
            raise Malformed
        char = yield from spaces()


def _keywords(block: Block) -> Steps:
    """Up to the closing bracket."""
    char, first = (yield from spaces()), True
    while char != ")":
        name = ""
        while NAME(char):
            name, char = name + char, (yield)
        if not name or (yield from spaces(char)) != "=":
            raise Malformed
        _key(block, first, name)
        first = False
        char = yield from python_value(block.tell, (yield from spaces()), 0)
        char = yield from spaces(char)
        if char == ",":
            char = yield from spaces()
        elif char != ")":
            raise Malformed
    block.tell("{}" if first else "}")
    return char


MARKED = {
    "hermes": Marked(hermes, ("<tool_call>",), ("</tool_call>",)),
    "qwen3_coder": Marked(
        qwen3_coder, ("<tool_call>", "<function="), ("</tool_call>", "</function>")
    ),
    "glm45": Marked(glm45, ("<tool_call>",), ("</tool_call>",)),
    "mistral": Marked(mistral, ("[TOOL_CALLS]",)),
    "gemma4": Marked(gemma4, ("<|tool_call>",), ("<tool_call|>",)),
    "pythonic": Marked(
        pythonic,
        ("<|tool_call_start|>", "<|python_start|>"),
        ("<|tool_call_end|>", "<|python_end|>"),
        "[",
    ),
}
