"""How long a prompt's text may be is counted in what it takes to read and send it."""

import msgspec
import pytest

from thespis.frontends.openai.bodies.reading import MAX_TEXT, Terms, _check_prompt
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatMessage, ChatPrompt, Prompt, Text, TextPrompt

TERMS = msgspec.convert(
    {
        "model": "m",
        "context": 1 << 20,
        "vocabulary": 100,
        "folder": "",
        "tokenizer_parts": "",
    },
    Terms,
)
LETTERS = pytest.mark.parametrize(
    ("letter", "most"),
    [
        ("a", MAX_TEXT),
        ("\u00e9", MAX_TEXT // 4),
        ("\u4e2d", MAX_TEXT // 6),
        ("\U0001f600", MAX_TEXT // 8),
    ],
    ids=["ascii", "two bytes", "three bytes", "four bytes"],
)


def prompts(text: str) -> tuple[Prompt, Prompt]:
    return TextPrompt(text), ChatPrompt((ChatMessage("user", (Text(text[:9]), Text(text[9:]))),))


@LETTERS
def test_as_many_letters_as_are_taken(letter: str, most: int) -> None:
    for prompt in prompts(letter * most):
        _check_prompt(prompt, TERMS)


@LETTERS
def test_one_letter_more(letter: str, most: int) -> None:
    for prompt in prompts(letter * (most + 1)):
        with pytest.raises(RequestError) as refused:
            _check_prompt(prompt, TERMS)
        assert refused.value.failure.code == "context_length_exceeded"
        assert f"{MAX_TEXT >> 20} MiB" in refused.value.failure.text
