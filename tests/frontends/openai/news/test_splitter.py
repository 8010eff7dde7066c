"""Thinking told from the answer, however its text is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.openai.news.splitter import Splitter
from thespis.protocol.chat_templates.reasoning import MARKS, marks_of
from thespis.protocol.requests.thinking import Begins


def split(name: str, begins: Begins, *pieces: str) -> tuple[str, str]:
    splitter = Splitter(MARKS[name], begins)
    told = [*map(splitter.feed, pieces), splitter.finish()]
    return "".join(one.thought for one in told), "".join(one.words for one in told)


TEXTS: list[tuple[str, Begins, str, tuple[str, str]]] = [
    # Opened by the prompt.
    ("qwen3", "thinking", "so\n</think>\n\nyes", ("so", "yes")),
    ("qwen3", "thinking", "\n so it\n\n is \n</think>yes ", ("so it\n\n is", "yes ")),
    ("qwen3", "thinking", "</think>yes", ("", "yes")),
    ("qwen3", "thinking", "cut off \n", ("cut off", "")),
    ("qwen3", "thinking", "cut in a mark </thi", ("cut in a mark </thi", "")),
    ("qwen3", "thinking", "a < b </ think> </think >\n</think>c",
     ("a < b </ think> </think >", "c")),
    ("qwen3", "thinking", "<think>twice</think>x", ("<think>twice", "x")),
    ("qwen3", "thinking", "a</think>b</think>c", ("a", "b</think>c")),
    ("qwen3", "thinking", "a<</think>b", ("a<", "b")),
    ("qwen3", "thinking", "a</think</think>b", ("a</think", "b")),
    ("qwen3", "thinking", "", ("", "")),
    ("qwen3", "thinking", " \n ", ("", "")),
    ("qwen3", "thinking", "&lt;/think&gt;</think>\r\n\té\U0001f600",
     ("&lt;/think&gt;", "é\U0001f600")),
    ("qwen3", "thinking", "let me call <tool_call>{}</tool_call></think>ok",
     ("let me call <tool_call>{}</tool_call>", "ok")),
    ("glm45", "thinking", "日本\u3000</think>\u3000語", ("日本\u3000", "\u3000語")),
    ("qwen3", "thinking", "first\r\n\r\nsecond\r\n</think>\r\n- a\r\n- b",
     ("first\r\n\r\nsecond", "- a\r\n- b")),
    ("qwen3", "thinking", "</thin</think></think>", ("</thin", "</think>")),
    ("qwen3", "thinking", "print('</th' + 'ink>')\n</think>\n```\nx\n```",
     ("print('</th' + 'ink>')", "```\nx\n```")),
    # Opened by the answer, perhaps.
    ("qwen3", "perhaps", "<think>\nso\n</think>\n\nyes", ("so", "yes")),
    ("qwen3", "perhaps", " \n<think>so</think>yes", ("so", "yes")),
    ("qwen3", "perhaps", "plain", ("", "plain")),
    ("qwen3", "perhaps", " \n plain ", ("", " \n plain ")),
    ("qwen3", "perhaps", "I say <think>no</think>", ("", "I say <think>no</think>")),
    ("qwen3", "perhaps", "<thinker> is", ("", "<thinker> is")),
    ("qwen3", "perhaps", "<thi", ("", "<thi")),
    ("qwen3", "perhaps", "\n<", ("", "\n<")),
    ("qwen3", "perhaps", "  ", ("", "  ")),
    ("qwen3", "perhaps", "<think>open", ("open", "")),
    ("qwen3", "perhaps", "</think>x", ("", "</think>x")),
    ("glm45", "perhaps", "<think>a</think><answer><|begin_of_box|>4<|end_of_box|></answer>",
     ("a", "<answer><|begin_of_box|>4<|end_of_box|></answer>")),
    ("deepseek_r1", "thinking", "no open mark\n</think>\n\n**4**", ("no open mark", "**4**")),
    # Ended by the prompt.
    ("qwen3", "answer", "\n <think>x</think>", ("", "<think>x</think>")),
    ("qwen3", "answer", "yes\n", ("", "yes\n")),
    # Other marks.
    ("gemma4", "perhaps", "<|channel>thought\nhm\n<channel|>yes", ("hm", "yes")),
    ("gemma4", "perhaps", "<|channel>thought\n<channel|>yes", ("", "yes")),
    ("gemma4", "perhaps", "<|channel>thoughts\n<channel|>yes", ("thoughts", "yes")),
    ("gemma4", "perhaps", "<|channel>tho", ("tho", "")),
    ("gemma4", "perhaps", "<|channel><channel|>yes", ("", "yes")),
    ("gemma4", "thinking", "hm<channel|>\n", ("hm", "")),
    ("gemma4", "perhaps", "<|channel>thought\na<|channel>thought\nb<channel|>c<channel|>",
     ("a<|channel>thought\nb", "c<channel|>")),
    ("mistral", "perhaps", "[THINK]so [/think] [/THIN[/THINK]yes[/THINK]",
     ("so [/think] [/THIN", "yes[/THINK]")),
    ("mistral", "thinking", "[[/THINK]]", ("[", "]")),
]  # fmt: skip


def test_white_space_behind_words_of_the_caller_is_the_answers() -> None:
    begun: list[tuple[Begins, str, tuple[str, str]]] = [
        ("answer", " the end", ("", " the end")),
        ("thinking", " am\n</think>\n\nyes", (" am", "yes")),
    ]
    for begins, text, expected in begun:
        for pieces in ([text], list(text)):
            splitter = Splitter(MARKS["qwen3"], begins, follows_words=True)
            told = [*map(splitter.feed, pieces), splitter.finish()]
            assert "".join(one.thought for one in told) == expected[0]
            assert "".join(one.words for one in told) == expected[1]


@pytest.mark.parametrize(("name", "begins", "text", "expected"), TEXTS)
def test_S73_thinking_is_the_same_however_the_text_is_cut(
    name: str, begins: Begins, text: str, expected: tuple[str, str]
) -> None:
    assert split(name, begins, text) == expected
    assert split(name, begins, *text) == expected
    for cut in range(len(text)):
        assert split(name, begins, text[:cut], text[cut:]) == expected


@pytest.mark.parametrize("name", ["glm45", "deepseek_r1", "gemma4", "mistral"])
@pytest.mark.parametrize("case", [case for case in TEXTS if case[0] == "qwen3"])
def test_S73_all_marks_follow_the_same_rule(
    name: str, case: tuple[str, Begins, str, tuple[str, str]]
) -> None:
    def marked(text: str) -> str:
        marks = MARKS[name]
        return text.replace("<think>", marks.open + marks.title).replace("</think>", marks.close)

    _, begins, text, (thought, words) = case
    expected = marked(thought), marked(words)
    assert split(name, begins, marked(text)) == expected
    assert split(name, begins, *marked(text)) == expected


@pytest.mark.parametrize("part", ["</think", "<", " ", "<think>", "x"])
def test_S73_no_more_than_a_mark_is_looked_at_again(part: str) -> None:
    for begins in ("thinking", "perhaps", "answer"):
        splitter = Splitter(MARKS["qwen3"], begins)
        for char in part * 500:
            splitter.feed(char)
            assert len(splitter._held) < len("</think>")


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 60)))
def test_S73_thinking_is_the_same_at_any_cuts(
    case: tuple[str, Begins, str, tuple[str, str]], cuts: list[int]
) -> None:
    name, begins, text, expected = case
    places = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert split(name, begins, *pieces) == expected


@pytest.mark.parametrize(
    ("told", "template", "model_type", "name"),
    [
        ("auto", "{{ '<think>\\n\\n</think>' }}", "qwen3_5", "qwen3"),
        ("auto", "{{ '<|channel>thought' + x + '<channel|>' }}", "gemma4", "gemma4"),
        ("auto", "{{ '[THINK]' + x + '[/THINK]' }}", "mistral3", "mistral"),
        ("auto", "[gMASK]<sop>", "glm4v", "glm45"),
        ("auto", "{{ messages }}", "llava", None),
        ("auto", None, "llava", None),
        ("none", "</think>", "glm4v", None),
        ("deepseek_r1", None, "llama", "deepseek_r1"),
    ],
)
def test_S73_the_template_says_how_a_model_thinks(
    told: str, template: str | None, model_type: str, name: str | None
) -> None:
    assert marks_of(told, template, model_type) == (None if name is None else MARKS[name])
