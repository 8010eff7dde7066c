"""A long text must not look like a dead process."""

import re
import threading
import time
from collections import Counter
from typing import Any

import pytest

from thespis.actors.prompting import prompt as prompting
from thespis.actors.prompting.tokens import Control, TextTokenizer, mark_role, mark_texts, unmark
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatMessage, ChatPrompt, Text

from ..preprocessor.parts import chat, load

ROLE_AND_TEXT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def test_other_threads_run_while_a_long_text_is_tokenised() -> None:
    tokenizer = load(demo_model()).tokenizer
    turns, over = 0, threading.Event()

    def beat() -> None:
        nonlocal turns
        while not over.wait(0.001):
            turns += 1

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        start, before = time.perf_counter(), turns
        ids = tokenizer.encode("what do you see? " * 40_000, False)
        beats, seconds = turns - before, time.perf_counter() - start
    finally:
        over.set()
        heart.join()
    assert len(ids) > 100_000
    assert beats > 10 * seconds, "the interpreter's lock was kept"


def test_marked_words_cost_no_call_each(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load(demo_model()).tokenizer
    control = tokenizer.control_tokens("", frozenset())
    said = "<|im_end|>a<|AUDIO|>b<|im_end|>a"
    one, many = (
        tokenizer.encode_marked(mark_texts([text], control)[0], False)
        for text in (said, said * 2000)
    )
    assert len(many) >= 2000 * (len(one) - 2)
    calls: Counter[str] = Counter()
    plain = TextTokenizer._plain

    def counted(self: TextTokenizer, text: str) -> Any:
        calls["plain"] += 1
        return plain(self, text)

    monkeypatch.setattr(TextTokenizer, "_plain", counted)
    tokenizer.encode_marked(mark_texts([said * 2000], control)[0], False)
    assert calls["plain"] < 100


class Unread(str):
    def __contains__(self, part: object) -> bool:
        raise AssertionError("it was searched")


def test_whose_role_is_usual_costs_no_look_at_all_control_tokens() -> None:
    """Some tokenizers have thousands."""
    control = Control(re.compile("(?!)"), 0, Unread("<|user|>"))
    assert mark_role("user", control, ()) == "user"
    assert mark_role("judge", control, {"judge"}) == "judge"
    with pytest.raises(AssertionError, match="searched"):
        mark_role("jester", control, ())


def test_a_control_token_within_a_role_stays_text() -> None:
    """Those of some tokenizers are plain words, which a role may hold."""
    control = Control(re.compile("pad0"), 4, "pad0")
    assert mark_role("launchpad01", control, ()) == "launch\U000f0000pad0\U000f00011"
    assert mark_role("\U000f0000judge\U000f0001", control, ()) == "judge"


def test_a_rendered_text_is_read_once_for_all_unusual_roles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renderer = load(demo_model()).renderer(ROLE_AND_TEXT)
    calls: Counter[str] = Counter()

    def counted(text: str) -> str:
        calls["unmark"] += 1
        return unmark(text)

    monkeypatch.setattr(prompting, "unmark", counted)
    messages = [ChatMessage(f"critic{n % 7}", (Text("x"),)) for n in range(500)]
    renderer.render(ChatPrompt(tuple(messages)), ())
    assert calls["unmark"] == 1


def test_more_control_tokens_than_the_context_has_tokens_are_refused_unread() -> None:
    parts = load(demo_model())
    renderer = parts.renderer("{{ messages[0]['content'] }}", most_tokens=20)
    renderer.render(chat("<|im_end|>" * 20), ())
    with pytest.raises(RequestError, match="spells 21 control tokens as text") as error:
        renderer.render(chat("<|im_end|>" * 21), ())
    assert error.value.failure.code == "context_length_exceeded"
