"""Each style of calls: what templates write is read as it was meant, and the same however it is
cut; what is no call stays text."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.openai.tools import blocks
from thespis.frontends.openai.tools.parsers import make_parser
from thespis.protocol.chat_templates.tool_styles import Style, style_of

from .styles import ARGUMENTS, SCHEMAS, SEVERAL, Calls, others, read, written

STYLES: tuple[Style, ...] = (
    "qwen3_coder", "glm45", "mistral", "gemma4", "pythonic", "json", "hermes"
)  # fmt: skip
WRITTEN = [[("add", arguments)] for arguments in ARGUMENTS] + SEVERAL
HOSTILE: list[tuple[Style, str, tuple[str, list[tuple[str, str]]]]] = [
    # Words around calls; white space next to a call is markup.
    ("qwen3_coder", "I add.\n\n<tool_call>\n<function=add>\n</function>\n</tool_call>\n\nDone.",
     ("I add.Done.", [("add", "{}")])),
    ("qwen3_coder", "<function=add><parameter=n>1</parameter></function></tool_call> b",
     ("b", [("add", '{"n": 1}')])),
    ("qwen3_coder", "a <tool_call>oops</tool_call> b", ("a <tool_call>oops</tool_call> b", [])),
    ("qwen3_coder", "<tool_call>\n<function=add", ("<tool_call>\n<function=add", [])),
    ("qwen3_coder", "<tool_call>\n<function=add>\n<parameter=text>\nhal",
     ("", [("add", '{"text": "hal')])),
    ("qwen3_coder", "<tool_call><function=add><parameter=n>4", ("", [("add", '{"n": ')])),
    ("qwen3_coder", "<tool_call><tool_call><function=add></function></tool_call>",
     ("<tool_call>", [("add", "{}")])),
    ("qwen3_coder", "<tool_call><function=add>junk</function></tool_call> x",
     ("</tool_call> x", [("add", "")])),
    ("qwen3_coder", "<function=add><parameter=n>many</parameter><parameter=on>False</parameter>"
     "<parameter=new>[1]</parameter></function>",
     ("", [("add", '{"n": "many", "on": false, "new": [1]}')])),
    ("qwen3_coder", "a < b <tool_cal", ("a < b <tool_cal", [])),
    ("glm45", "Hm.\n<tool_call>add\n</tool_call>\n", ("Hm.", [("add", "{}")])),
    ("glm45", "<tool_call>add</tool_call>", ("", [("add", "{}")])),
    ("glm45", "<tool_call>no name</tool_call>", ("<tool_call>no name</tool_call>", [])),
    ("glm45", "<tool_call>add\n<arg_key>n</arg_key>\n<arg_value>1", ("", [("add", '{"n": ')])),
    ("glm45", "<tool_call>add<arg_key>text</arg_key><arg_value>&lt;x</arg_value></tool_call>",
     ("", [("add", '{"text": "&lt;x"}')])),
    ("glm45", "<tool_call>add <tool_call>", ("<tool_call>add <tool_call>", [])),
    ("mistral", '[TOOL_CALLS] [{"name": "add", "arguments": {"n": 1}}, '
     '{"name": "f", "arguments": {}}]',
     ("", [("add", '{"n": 1}'), ("f", "{}")])),
    ("mistral", '[TOOL_CALLS]{"name": "add", "arguments": {"n": 1}}', ("", [("add", '{"n": 1}')])),
    ("mistral", 'So [TOOL_CALLS]add[CALL_ID]a1b2c3d4e[ARGS] {"text": "]}"}',
     ("So", [("add", '{"text": "]}"}')])),
    ("mistral", '[TOOL_CALLS]add{"n": 1}[TOOL_CALLS]add{}',
     ("", [("add", '{"n": 1}'), ("add", "{}")])),
    ("mistral", "[TOOL_CALLS] none today", ("[TOOL_CALLS] none today", [])),
    ("mistral", '[TOOL_CALLS]add[ARGS]{"n": [1', ("", [("add", '{"n": [1')])),
    ("mistral", "[TOOL_CALLS]", ("[TOOL_CALLS]", [])),
    ("mistral", "[TOOL_CALLS][]", ("[TOOL_CALLS][]", [])),
    ("gemma4", 'ok <|tool_call>call:add{text:<|"|>}<tool_call|>{<|"|>}<tool_call|> b',
     ("okb", [("add", '{"text": "}<tool_call|>{"}')])),
    ("gemma4", "<|tool_call>call:add{n:1", ("", [("add", '{"n": ')])),
    ("gemma4", "<|tool_call>add{}<tool_call|>", ("<|tool_call>add{}<tool_call|>", [])),
    ("gemma4", '<|tool_call>call:add{map:{<|"|>a b<|"|>:[true,null,None,1.5,x y]}}<tool_call|>',
     ("", [("add", '{"map": {"a b": [true, null, null, 1.5, "x y"]}}')])),
    ("gemma4", "<|tool_call>call:add{n:1]}<tool_call|>c", ("c", [("add", '{"n": 1')])),
    ("gemma4", "<|tool_call>call:add{" + "map:{" * 80 + "<tool_call|>c",
     ("c", [("add", '{"map": ' * 65)])),
    ("pythonic", "[add(n=1)] ", ("", [("add", '{"n": 1}')])),
    ("pythonic", "[1, 2] is a list", ("[1, 2] is a list", [])),
    ("pythonic", "[nobody(n=1)]", ("[nobody(n=1)]", [])),
    ("pythonic", "so: [add(n=1)]", ("so: [add(n=1)]", [])),
    ("pythonic", "Hm. <|tool_call_start|>[nobody(n=1)]<|tool_call_end|>",
     ("Hm.", [("nobody", '{"n": 1}')])),
    ("pythonic", "<|python_start|>[add(on=True, list=(1,), text='a\\u00e9\\x41\\'')]<|python_end|>",
     ("", [("add", '{"on": true, "list": [1], "text": "a\\u00e9\\u0041\'"}')])),
    ("pythonic", "[add(1)]", ("", [("add", "")])),
    ("pythonic", "[add(text='x", ("", [("add", '{"text": "x')])),
    ("pythonic", "[add(n=1), nobody(n=1)] x", ("", [("add", '{"n": 1}')])),
    ("pythonic", "[", ("[", [])),
]  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("calls", WRITTEN, ids=range(len(WRITTEN)))
def test_S73_what_a_template_writes_is_read_as_it_was_meant(style: Style, calls: Calls) -> None:
    text = written(style, calls)
    words, found = read(style, text)
    assert words == ""
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls
    assert read(style, *text) == ("", found)
    for cut in range(len(text)):
        assert read(style, text[:cut], text[cut:]) == ("", found), cut


@pytest.mark.parametrize("style", ["gemma4", "pythonic", "qwen3_coder", "glm45"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=range(len(ARGUMENTS)))
def test_S73_other_readers_find_the_same(style: Style, arguments: dict[str, object]) -> None:
    text = written(style, [("add", arguments)])
    ((_, found),) = read(style, text)[1]
    theirs = others(style, text)
    if theirs is None:
        return
    if style in ("gemma4", "pythonic"):
        assert json.loads(found) == theirs
    else:  # they leave every value a text
        for name, value in json.loads(found).items():
            assert (value if isinstance(value, str) else json.dumps(value)) == (
                theirs[name] if isinstance(value, str) else json.dumps(json.loads(theirs[name]))
            )


@pytest.mark.parametrize(("style", "text", "expected"), HOSTILE)
def test_S73_what_is_cut_or_malformed_follows_one_rule(
    style: Style, text: str, expected: tuple[str, list[tuple[str, str]]]
) -> None:
    assert read(style, text) == expected
    assert read(style, *text) == expected
    for cut in range(len(text)):
        assert read(style, text[:cut], text[cut:]) == expected, cut


MARKUP = [
    "<tool_call>", "</tool_call>", "<function=add>", "<parameter=n>", "</parameter>", "</function>",
    "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "add", "1", "n", '"', "'", "\\", " ",
    "\n", "{", "}", "[", "]", "(", ")", "=", ":", ",", '<|"|>', "<|tool_call>", "<tool_call|>",
    "call:", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<", "é", "<|tool_call_start|>",
]  # fmt: skip


@given(st.sampled_from(STYLES), st.lists(st.sampled_from(MARKUP), max_size=24), st.data())
def test_S73_whatever_comes_is_the_same_at_any_cuts(
    style: Style, parts: list[str], data: st.DataObject
) -> None:
    text = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    places = [0, *sorted(cuts), len(text)]
    whole = read(style, text)
    assert read(style, *(text[start:end] for start, end in pairwise(places))) == whole
    assert read(style, *text) == whole


@pytest.mark.parametrize("style", ["qwen3_coder", "glm45", "mistral", "gemma4", "pythonic"])
@pytest.mark.parametrize("part", [
    "<tool_call>", "<", " ", "[TOOL_CALLS]", "<|tool_call>call:add{", "<function=add>",
    "<tool_call>add<arg_key>", "[add(", "<parameter=n>\n", "</parameter",
])  # fmt: skip
def test_S73_work_is_linear_in_the_text(
    style: Style, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Characters that the reader of calls is sent, and characters of text that are told."""
    sent = 0
    feed = blocks.Block.feed

    def counted(self: blocks.Block, text: str, events: list[object]) -> int:
        nonlocal sent
        used = feed(self, text, events)  # type: ignore[arg-type]
        sent += used + 1
        return used

    monkeypatch.setattr(blocks.Block, "feed", counted)
    parser = make_parser(style, SCHEMAS)
    text = part * 500
    for char in text:
        parser.feed(char)
    assert sent <= 3 * len(text)
    held = [value for value in vars(parser).values() if isinstance(value, str)]
    assert sum(map(len, held)) < 100
    parser.finish()


@pytest.mark.parametrize(
    ("told", "template", "style"),
    [
        ("auto", "tools <tool_call> <function=", "qwen3_coder"),
        ("auto", "tools <tool_call> {name}", "hermes"),
        ("auto", "tools <tool_call><arg_key>", "glm45"),
        ("auto", "tools [TOOL_CALLS]", "mistral"),
        ("auto", "tools <|tool_call>", "gemma4"),
        ("auto", "tools <|tool_call_start|>", "pythonic"),
        ("auto", "tools {parameters}", "json"),
        ("auto", "messages", "hermes"),
        ("auto", None, "hermes"),
        ("llama3_json", None, "json"),
        ("qwen3_xml", "tools [TOOL_CALLS]", "qwen3_coder"),
        ("lfm2", None, "pythonic"),
    ],
)
def test_S73_the_template_says_how_calls_are_written(
    told: str, template: str | None, style: Style
) -> None:
    assert style_of(told, template) == style
