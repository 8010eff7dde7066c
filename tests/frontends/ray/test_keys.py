"""By what requests are told to be alike: their media and how their prompts begin, tenants apart."""

import gc
import json
import sys
from typing import Any

import pytest

from thespis.frontends.ray.keys import HEAD, MOST_VALUES, LikeKeys, keys_of

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
OTHER = {"type": "image_url", "image_url": {"url": "https://example.org/b.png"}}


def keys(body: Any, salt: str = "s", **headers: str) -> LikeKeys:
    return keys_of(headers, json.dumps(body).encode(), salt)


def chat(*turns: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


def asked(text: str, *media: Any) -> list[Any]:
    return [*media, {"type": "text", "text": text}]


def test_the_same_picture_has_one_key_wherever_it_stands() -> None:
    one = keys(chat(("user", asked("What is it?", PICTURE))))
    late = keys(chat(("user", "Hello"), ("assistant", "Hi"), ("user", asked("And it?", PICTURE))))
    assert one.own[0] == late.own[0]
    assert keys(chat(("user", asked("What is it?", OTHER)))).own[0] != one.own[0]


def test_a_picture_with_an_id_is_known_by_it() -> None:
    given = keys(chat(("user", [{**PICTURE, "uuid": "cat"}])))
    named = keys(chat(("user", [{"type": "image_url", "image_url": None, "uuid": "cat"}])))
    assert given.own[0] == named.own[0]


def test_a_conversation_has_one_key_in_all_its_turns() -> None:
    first = chat(("system", "Be kind."), ("user", "Hello"))
    then = chat(("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Why?"))
    assert keys(first).own == keys(then).own != keys(chat(("user", "Hello"))).own


def test_the_same_words_about_two_pictures_are_two_conversations() -> None:
    one, other = (keys(chat(("user", asked("What is it?", shown)))) for shown in (PICTURE, OTHER))
    assert not set(one.own) & set(other.own)


def test_a_long_system_prompt_is_shared() -> None:
    long = "You are a helper. " * 30
    one, other = (keys(chat(("system", long), ("user", text))) for text in ("a", "b"))
    assert one.shared == other.shared != ""
    assert one.own != other.own
    assert keys(chat(("system", "Short."), ("user", "a"))).shared == ""


def test_apis_have_their_own_places() -> None:
    assert keys({"prompt": "x" * HEAD + "one"}).own == keys({"prompt": "x" * HEAD + "two"}).own
    assert keys({"input": [{"role": "user", "content": "Hi"}]}).own
    assert keys({"input": "Hi", "instructions": "Be kind."}).own
    ollama = {"messages": [{"role": "user", "content": "What?", "images": ["AAAA"]}]}
    assert len(keys(ollama).own) == 2
    generate = {"prompt": "What?", "images": ["AAAA"]}
    assert keys(generate).own[0] == keys(ollama).own[0]


def test_tenants_and_services_share_nothing() -> None:
    body = chat(("user", asked("What?", PICTURE)))
    mine = keys(body, authorization="Bearer one")
    assert not set(mine.own) & set(keys(body, authorization="Bearer two").own)
    assert not set(mine.own) & set(keys(body, salt="t", authorization="Bearer one").own)
    assert mine == keys(body, authorization="Bearer one")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}" * 3,
        b'{"messages": ' + b"[" * 5000,
        b'{"a": [' + b"1," * MOST_VALUES + b"1]}",
        b'{"messages": [1, null, {"content": [null, 3, {"type": 4}, []]}], "prompt": 5}',
        b'{"messages": {"a": 1}, "input": [[1, 2]], "system": [1]}',
        b'{"prompt": "\\ud800", "model": {"x": []}}',
        b'{"messages": [{"role": "user", "content": [{"type": "text", "text": 5}], "images": 7}]}',
        b"\xff\xfe",
    ],
)
def test_no_body_is_too_strange(body: bytes) -> None:
    """A replica says what is wrong with it."""
    assert isinstance(keys_of({}, body, "s"), LikeKeys)


@pytest.mark.parametrize("name", ["system", "model"])
def test_what_can_just_be_read_may_be_too_deep_to_be_told(name: str) -> None:
    gc.disable()  # where a finalizer would run into the same end
    try:
        for deep in range(1, sys.getrecursionlimit()):
            body = f'{{"{name}": {"[" * deep}{"]" * deep}}}'.encode()
            assert isinstance(keys_of({}, body, "s"), LikeKeys)
    finally:
        gc.enable()
