"""Requests that are right and whose answers are costly: every option that makes one larger, or each
of its tokens dearer."""

from random import Random
from typing import Any

from .shot import CHAT, COMPLETIONS, HOST, Shot, chat, post

_ALIKE = "a" + "{}" + "x" * 61
"""Stop strings that begin as the text goes on, a thousand within the limit on them all."""


def draw_answers(draw: Random, biggest: int) -> Shot:
    return draw.choice(
        (_scored, _scored, _scored_prompt, _stopped, _constrained, _echoed, _measured, _unread)
    )(draw)


def _scored(draw: Random) -> Shot:
    n, tokens = draw.choice(((1, 200), (8, 30), (32, 10), (128, 3)))
    more: dict[str, Any] = {
        "n": n,
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 1,
        "stream": draw.random() < 0.5,
    }
    alternatives = draw.choice((0, 5, 50))
    if draw.random() < 0.5:
        return post(
            f"{n} scored chats",
            CHAT,
            {**chat("hi"), **more, "logprobs": True, "top_logprobs": alternatives},
        )
    return post(
        f"{n} scored completions", COMPLETIONS, {"prompt": "hi", **more, "logprobs": alternatives}
    )


def _scored_prompt(draw: Random) -> Shot:
    ids = [draw.randrange(400) for _ in range(draw.choice((1, 300, 3500)))]
    asked: dict[str, Any] = draw.choice((
        {"prompt_logprobs": 50}, {"prompt_logprobs": 0, "n": 16}, {"echo": True, "logprobs": 50},
        {"echo": True, "logprobs": 3, "max_tokens": 0},
        {"prompt_logprobs": 5, "return_tokens_as_token_ids": True},
    ))  # fmt: skip
    return post(
        f"a prompt of {len(ids)} scored", COMPLETIONS, {"prompt": ids, "max_tokens": 2, **asked}
    )


def _stopped(draw: Random) -> Shot:
    stops = [_ALIKE.format(chr(0x4E00 + at)) for at in range(draw.choice((3, 1000)))] + [
        "a" * draw.choice((2, 63)) + "b"
    ]
    draw.shuffle(stops)
    body = {
        "prompt": "a",
        "n": draw.choice((1, 16)),
        "max_tokens": 100,
        "stop": stops,
        "guided_regex": "a{500}",
    }
    return post(f"{len(stops)} stop strings", COMPLETIONS, body)


def _constrained(draw: Random) -> Shot:
    asked: dict[str, Any] = draw.choice((
        {"bad_words": ["ab" * 31 + chr(97 + at % 26) for at in range(1000)]},
        {"bad_words": ["\u00e9" * 9, " ", "\ufffd"][:1]},
        {"logit_bias": {str(at): -1 for at in range(400)}}, {"allowed_token_ids": list(range(400))},
        {"min_tokens": 20, "stop": ["a", "e"], "stop_token_ids": list(range(300))},
        {"repetition_penalty": 1e-6, "presence_penalty": 2, "frequency_penalty": -2, "min_p": 1.0,
            "top_k": 1},
        {"max_tokens": (1 << 31) - 1, "stop": ["a", "e", "t", " "]},
        {"temperature": 1e-300, "top_p": 1e-9, "seed": -1},
    ))  # fmt: skip
    return post(
        f"constrained by {', '.join(asked)}",
        COMPLETIONS,
        {"prompt": "hi", "n": 16, "max_tokens": 20, **asked},
    )


def _echoed(draw: Random) -> Shot:
    body = {
        "prompt": ["long " * 600] * draw.choice((1, 3)),
        "n": 32,
        "max_tokens": 1,
        "echo": True,
        "return_token_ids": True,
    }
    return post("a long prompt many times", COMPLETIONS, {**body, "stream": draw.random() < 0.5})


def _measured(draw: Random) -> Shot:
    """By one caller in a row; others of this kind ask beside it."""
    count = draw.choice((1, 30))
    one = b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n"
    return Shot(
        what=f"{count} times the metrics",
        pieces=[one * count],
        may_close=True,
        leaves=2.0,
        methods=("GET",) * count,
    )


def _unread(draw: Random) -> Shot:
    """Nothing is read of a large stream, and the caller goes."""
    body = {
        **chat("hi"),
        "n": 16,
        "max_tokens": 60,
        "ignore_eos": True,
        "logprobs": True,
        "top_logprobs": 50,
        "stream": True,
    }
    shot = post("", CHAT, body)
    return Shot(
        what="a large stream that is left",
        pieces=shot.pieces,
        leaves=draw.choice((0.5, 2.0)),
        may_close=True,
    )
