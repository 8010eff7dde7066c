"""How a conversation of a body becomes a prompt: for an answer, for its tokens, for vectors."""

import json
from typing import Any

import pytest

from thespis.frontends.openai.requests.chat import parse_chat, parse_tokenize
from thespis.frontends.openai.requests.embeddings import parse_embedding
from thespis.frontends.openai.requests.schema import (
    ChatRequest,
    EmbeddingRequest,
    TokenizeRequest,
    decode,
)
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatPrompt, Prompt

KINDS = ("chat", "tokenize", "embedding")


def prompt_of(kind: str, **fields: Any) -> Prompt:
    body = json.dumps({"messages": [{"role": "user", "content": "a"}], **fields}).encode()
    match kind:
        case "chat":
            return parse_chat(decode(ChatRequest, body)).prompt
        case "tokenize":
            return parse_tokenize(decode(TokenizeRequest, body))
    return parse_embedding(decode(EmbeddingRequest, body))[0].prompt


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("go_on", [False, True])
def test_what_is_answered_gets_a_generation_prompt(kind: str, go_on: bool) -> None:
    prompt = prompt_of(kind, continue_final_message=go_on, chat_template_kwargs={"a": 1})
    assert isinstance(prompt, ChatPrompt)
    assert prompt.add_generation_prompt == (kind != "embedding" and not go_on)
    assert (prompt.continue_final_message, prompt.template_kwargs) == (go_on, {"a": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_goes_on_has_no_generation_prompt_behind_it(kind: str) -> None:
    with pytest.raises(RequestError) as refused:
        prompt_of(kind, continue_final_message=True, add_generation_prompt=True)
    assert (refused.value.failure.part, refused.value.failure.code) == (
        "continue_final_message",
        "contradicting_fields",
    )


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("a", ["input"]),
        ([1, 2], ["input"]),
        (["a"], ["input[0]"]),
        (["a", ""], ["input[0]", "input[1]"]),
        ([[1], [2, 3]], ["input[0]", "input[1]"]),
    ],
)
def test_an_input_of_vectors_has_a_name_by_which_it_is_refused(
    given: Any, where: list[str]
) -> None:
    body = json.dumps({"input": given}).encode()
    asked = parse_embedding(decode(EmbeddingRequest, body))
    assert [one.where for one in asked] == where
