"""Types that transformers does not have."""

import pytest

from thespis.frontends.tokenizing import tokenizer_of

from .catalog import NAMES, Zoo, animal


@pytest.mark.parametrize("name", [name for name in NAMES if animal(name).own])
def test_a_caller_gets_the_tokenizer(name: str, zoo: Zoo) -> None:
    tokenizer = tokenizer_of(str(zoo(name)))
    ids = tokenizer.encode("What is it?", add_special_tokens=False)
    assert tokenizer.decode(ids).strip() == "What is it?"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "What is it?"}], tokenize=False).count("What is it?") == 1
