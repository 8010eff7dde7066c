"""How an answer begins, by its prompt."""

import json
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from thespis.actors.preprocessor.thinking import ThinkingFinder
from thespis.actors.prompting.prompt import Rendered
from thespis.actors.prompting.tokens import TextTokenizer, mark
from thespis.protocol.chat_templates.reasoning import MARKS
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatMessage, ChatPrompt, Text, TextPrompt, TokenPrompt
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.requests.thinking import Thinking

OPEN, CLOSE, CHANNEL = 3, 4, 5


def tokenizer() -> TextTokenizer:
    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    for text in ("<think>", "</think>", "<|channel>"):
        made.add_tokens([AddedToken(text, normalized=False)])
    return TextTokenizer(made, {})


TOKENS = tokenizer()
MESSAGES = (ChatMessage("user", (Text("hi"),)),)


def thinking(text: str, name: str | None = "qwen3", prompt: Any = None, **sampling: Any) -> Any:
    finder = ThinkingFinder(None if name is None else MARKS[name], TOKENS, 10)
    rendered = Rendered(None, text, {}, True)
    chat = ChatPrompt(MESSAGES) if prompt is None else prompt
    return finder.of(SamplingParams(**sampling), chat, rendered).thinking


@pytest.mark.parametrize(
    ("name", "text", "begins"),
    [
        ("qwen3", "hi\nassistant\n<think>\n", "thinking"),
        ("qwen3", "hi\nassistant\n<think>\n\n</think>\n\n", "answer"),
        ("qwen3", "hi\nassistant\n", "perhaps"),
        ("qwen3", "earlier <think> and </think>\nassistant\n", "perhaps"),
        ("deepseek_r1", "hi\nassistant\n", "thinking"),
        ("deepseek_r1", "hi\nassistant\n<think>\n\n</think>\n", "answer"),
        ("gemma4", "hi\nmodel\n", "perhaps"),
        ("gemma4", "hi\nmodel\n<|channel>thought\n", "thinking"),
        ("gemma4", "hi\nmodel\n<|channel>", "thinking"),
        ("gemma4", "hi\nmodel\n<|channel>thought\n<channel|>", "answer"),
    ],
)
def test_S73_how_an_answer_begins(name: str, text: str, begins: str) -> None:
    assert thinking(text, name).begins == begins


def test_S73_what_a_caller_writes_opens_nothing() -> None:
    control = TOKENS.control_tokens("<think>", frozenset())
    assert thinking(mark("<think>", control)).begins == "perhaps"


@pytest.mark.parametrize(
    ("said", "begins"),
    [
        ("<think>so far", "thinking"),
        ("<think>so</think>yes", "answer"),
        ("yes", "answer"),
    ],
)
def test_S73_a_message_that_is_continued(said: str, begins: str) -> None:
    prompt = ChatPrompt((*MESSAGES, ChatMessage("assistant", (Text(said),))), False, True)
    assert thinking("whatever <think>\n", prompt=prompt).begins == begins


def test_S73_marks_that_are_tokens_are_named() -> None:
    assert thinking("a", thinking_token_budget=5) == Thinking(OPEN, CLOSE, "perhaps", 5)
    assert thinking("a", "gemma4") == Thinking(CHANNEL, -1, "perhaps")
    assert not thinking("a", "gemma4").known
    assert thinking("a", None) is None
    assert thinking("a", prompt=TextPrompt("a")) is None
    raw = TextPrompt("a <think>")
    assert thinking("a <think>", prompt=raw, thinking_token_budget=0).begins == "thinking"
    assert thinking("", prompt=TokenPrompt((1,))) is None


@pytest.mark.parametrize("name", ["gemma4", None])
def test_S73_a_budget_that_cannot_be_kept_is_refused(name: str | None) -> None:
    with pytest.raises(RequestError, match="cannot be bounded") as error:
        thinking("a", name, thinking_token_budget=3)
    assert error.value.status == 400
    assert json.dumps(error.value.failure.part) == '"thinking_token_budget"'
