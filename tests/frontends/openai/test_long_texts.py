"""How long a prompt's text may be is counted in what it takes to read and send it."""

import msgspec
import pytest

from thespis.frontends.openai.reading import MAX_TEXT, Terms, _check_prompt
from thespis.protocol.errors import RequestError
from thespis.protocol.request import ChatMessage, ChatPrompt, Prompt, Text, TextPrompt

TERMS = msgspec.convert(
    {"model": "m", "context": 1 << 20, "vocabulary": 100, "folder": "", "tokenizer_parts": "", "style": "hermes"}, Terms
)
LETTERS = pytest.mark.parametrize("letter", ["a", "\u00e9", "\u4e2d", "\U0001f600"])


def prompts(text: str) -> tuple[Prompt, Prompt]:
    return TextPrompt(text), ChatPrompt((ChatMessage("user", (Text(text[:9]), Text(text[9:]))),))


@LETTERS
def test_as_many_bytes_as_are_taken(letter: str) -> None:
    for prompt in prompts(letter * (MAX_TEXT // len(letter.encode()))):
        _check_prompt(prompt, TERMS)


@LETTERS
def test_one_letter_more(letter: str) -> None:
    for prompt in prompts(letter * (MAX_TEXT // len(letter.encode()) + 1)):
        with pytest.raises(RequestError) as refused:
            _check_prompt(prompt, TERMS)
        assert refused.value.failure.code == "context_length_exceeded"
        assert str(MAX_TEXT) in refused.value.failure.text
