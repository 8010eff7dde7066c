"""S51: how answers are sampled and when they end, by each of its names, on every face. Guides:
test_I_structured."""

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from thespis import LLM, SamplingParams

from ..helpers.checkpoints import Checkpoints
from ..helpers.engines import Spectator
from ..helpers.serving import Server
from .faces import Answer, AsyncFace, Face, OfflineFace, ask, refusal

pytestmark = pytest.mark.process

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
WORDS = "say something"
LENGTH = 24
FORCED = 100.0
"""A bias that decides."""


@pytest.fixture(scope="module")
def vocabulary(checkpoints: Checkpoints) -> Tokenizer:
    return Tokenizer.from_file(str(Path(checkpoints("qwen_omni")) / "tokenizer.json"))


@pytest.fixture(scope="module")
def eos(vocabulary: Tokenizer) -> int:
    """That ends an answer of this model."""
    found = vocabulary.token_to_id("<|im_end|>")
    assert found is not None
    return found


def said(face: Face, **sampling: Any) -> Answer:
    return ask(face, WORDS, **{"max_tokens": LENGTH, "ignore_eos": True, **sampling})


@pytest.mark.parametrize(
    "narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"temperature": 1e-6}], ids=str
)
def test_S51_what_leaves_one_token_is_greedy(face: Face, narrow: dict[str, Any]) -> None:
    greedy = said(face)
    assert said(face, **{"temperature": 1.0, "seed": 5, **narrow}).token_ids == greedy.token_ids
    assert said(face, temperature=1.0, seed=5).token_ids != greedy.token_ids


def test_S51_a_seed_says_what_is_drawn(face: Face, llm: LLM) -> None:
    """On every face the same."""
    first, again, other = (said(face, temperature=1.0, seed=seed).token_ids for seed in (1, 1, 2))
    assert first == again == said(OfflineFace(llm), temperature=1.0, seed=1).token_ids
    assert first != other
    assert said(face, temperature=1.0).token_ids != said(face, temperature=1.0).token_ids


def test_S51_top_k_and_top_p_leave_more_than_one(face: Face) -> None:
    """The likeliest alone are drawn: those that `logprobs` would name."""
    for some in ({"top_k": 3}, {"min_p": 0.9}, {"top_p": 0.05}):
        drawn = said(face, temperature=1.0, seed=7, **some).token_ids
        assert drawn == said(face, temperature=1.0, seed=7, **some).token_ids
        assert drawn != said(face, temperature=1.0, seed=7).token_ids


def test_S51_how_long(face: Face, eos: int) -> None:
    """`max_tokens`, `min_tokens`, `ignore_eos`."""
    ended = {"logit_bias": {str(eos) if face.name == "http" else eos: FORCED}, "ignore_eos": False}
    assert (len(said(face, max_tokens=3).token_ids), said(face, max_tokens=3).finish_reason) == (
        3,
        "length",
    )
    at_once = said(face, **ended)
    assert (at_once.finish_reason, at_once.text) == ("stop", "")
    later = said(face, **ended, min_tokens=5)
    assert later.finish_reason == "stop"
    assert 5 <= len(later.token_ids) <= 6
    assert eos not in later.token_ids[:5]
    never = said(face, **{**ended, "ignore_eos": True})
    assert (never.token_ids, never.finish_reason) == ([eos] * LENGTH, "length")


def test_S51_stop_token_ids(face: Face) -> None:
    free = said(face).token_ids
    at = next(at for at in range(3, LENGTH) if free[at] not in free[:at])
    stopped = said(face, stop_token_ids=[free[at]])
    assert stopped.finish_reason == "stop"
    assert stopped.token_ids[:at] == free[:at]
    assert len(stopped.token_ids) <= at + 1
    assert len(said(face, stop_token_ids=[free[at]], min_tokens=at + 3).token_ids) >= at + 3


def test_S51_stop(face: Face) -> None:
    free = said(face).text
    word = free[5:8]
    at = free.index(word)
    for stop in (word, ["never said", word]):
        assert said(face, stop=stop).text == free[:at]
        assert said(face, stop=stop).finish_reason == "stop"
    assert said(face, stop=word, include_stop_str_in_output=True).text == free[: at + len(word)]


def test_S51_a_bias_and_what_is_allowed(face: Face, vocabulary: Tokenizer) -> None:
    a, b = (int(vocabulary.token_to_id(letter) or 0) for letter in "ab")
    name: Callable[[int], Any] = str if face.name == "http" else int
    assert said(face, logit_bias={name(a): FORCED}).token_ids == [a] * LENGTH
    drawn = said(face, allowed_token_ids=[a, b], temperature=2.0, seed=3).token_ids
    assert set(drawn) == {a, b}
    assert a not in said(face, allowed_token_ids=[a, b], logit_bias={name(a): -FORCED}).token_ids


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty", "repetition_penalty"])
def test_S51_penalties(face: Face, name: str) -> None:
    """What has been said is said again less often; without a penalty nothing changes."""
    drawn: dict[str, Any] = {
        "temperature": 1.0,
        "seed": 3,
        "max_tokens": 96,
        "allowed_token_ids": list(range(64, 128)),
    }
    none, full = (1.0, 2.0) if name == "repetition_penalty" else (0.0, 2.0)
    free = said(face, **drawn).token_ids
    assert said(face, **drawn, **{name: none}).token_ids == free
    assert len(set(said(face, **drawn, **{name: full}).token_ids)) > len(set(free))


def test_S51_special_tokens_are_shown_where_that_is_asked(face: Face, eos: int) -> None:
    bias = {str(eos) if face.name == "http" else eos: FORCED}
    assert said(face, logit_bias=bias, max_tokens=2).text == ""
    assert (
        said(face, logit_bias=bias, max_tokens=2, skip_special_tokens=False).text
        == "<|im_end|>" * 2
    )


def test_S51_several_choices(server: Server, llm: LLM, async_face: AsyncFace) -> None:
    sampling: dict[str, Any] = {
        "n": 3,
        "temperature": 1.0,
        "seed": 11,
        "max_tokens": 8,
        "ignore_eos": True,
    }
    params = SamplingParams(**sampling)
    offline = llm.generate(WORDS, params, use_tqdm=False)[0].outputs
    running = async_face.run(async_face.llm.generate(WORDS, params)).outputs
    body = server.ask(COMPLETIONS, {"prompt": WORDS, "return_token_ids": True, **sampling}).body
    expected = [choice.token_ids for choice in offline]
    assert len({str(ids) for ids in expected}) == 3
    assert [choice.token_ids for choice in running] == expected
    assert [choice["token_ids"] for choice in body["choices"]] == expected
    assert (
        [choice["index"] for choice in body["choices"]]
        == [choice.index for choice in offline]
        == [0, 1, 2]
    )


def test_S51_logprobs(server: Server, llm: LLM, async_face: AsyncFace) -> None:
    """The same numbers on every face; in the API's two forms over HTTP."""
    sampling: dict[str, Any] = {"temperature": 0, "max_tokens": 5, "ignore_eos": True}
    params = SamplingParams(**sampling, logprobs=3)
    (offline,) = llm.chat([{"role": "user", "content": WORDS}], params, use_tqdm=False)
    assert offline.outputs[0].logprobs is not None
    wanted = [[place[n].logprob for n in place] for place in offline.outputs[0].logprobs]
    running = async_face.run(async_face.llm.chat([{"role": "user", "content": WORDS}], params))
    assert [[place[n].logprob for n in place] for place in running.outputs[0].logprobs] == [
        pytest.approx(place, abs=1e-4) for place in wanted
    ]
    chat = server.chat(WORDS, **sampling, logprobs=True, top_logprobs=3).body["choices"][0][
        "logprobs"
    ]["content"]
    assert len(chat) == 5
    for entry, place in zip(chat, wanted, strict=True):
        told = [one["logprob"] for one in entry["top_logprobs"]]
        assert told == sorted(told, reverse=True)
        assert told == pytest.approx(sorted(place, reverse=True)[:3], abs=1e-4)
        assert entry["logprob"] == told[0]
        assert math.exp(told[0]) <= 1
        assert bytes(entry["bytes"]).decode("utf-8", "replace")
    none = server.chat(WORDS, **sampling, logprobs=True).body["choices"][0]["logprobs"]["content"]
    assert [entry["top_logprobs"] for entry in none] == [[]] * 5
    assert server.chat(WORDS, **sampling).body["choices"][0]["logprobs"] is None
    plain = server.ask(COMPLETIONS, {"prompt": WORDS, **sampling, "logprobs": 2}).body["choices"][
        0
    ]["logprobs"]
    assert len(plain["tokens"]) == len(plain["token_logprobs"]) == len(plain["text_offset"]) == 5
    assert [len(top) for top in plain["top_logprobs"]] == [2] * 5


def test_S51_prompt_logprobs(server: Server, llm: LLM, async_face: AsyncFace) -> None:
    params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=2)
    offline = llm.generate("abcd", params, use_tqdm=False)[0]
    running = async_face.run(async_face.llm.generate("abcd", params))
    body = server.ask(
        COMPLETIONS, {"prompt": "abcd", "max_tokens": 1, "temperature": 0, "prompt_logprobs": 2}
    ).body
    (choice,) = body["choices"]
    known = offline.prompt_logprobs
    assert known is not None
    told = choice.get("prompt_logprobs", body.get("prompt_logprobs"))
    for output in (offline, running):
        assert output.prompt_logprobs is not None
        assert output.prompt_logprobs[0] is None
        for token, place in zip(
            output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True
        ):
            assert place is not None
            assert token in place
            assert len(place) in (2, 3)
    assert told[0] is None
    for place, wanted in zip(told[1:], known[1:], strict=True):
        assert {int(n): entry["logprob"] for n, entry in place.items()} == pytest.approx(
            {n: entry.logprob for n, entry in (wanted or {}).items()}, abs=1e-4
        )


def test_S51_echo(server: Server) -> None:
    """Of completions: the prompt goes before the answer, and is scored where that is asked."""
    body = {"prompt": WORDS, "max_tokens": 4, "temperature": 0, "ignore_eos": True}
    plain, echoed = (
        server.ask(COMPLETIONS, {**body, "echo": echo}).body["choices"][0]["text"]
        for echo in (False, True)
    )
    assert echoed == WORDS + plain
    events = server.stream(COMPLETIONS, {**body, "echo": True}).split(b"\n\n")
    assert (
        "".join(
            json.loads(event[6:])["choices"][0]["text"]
            for event in events
            if event.startswith(b"data: {")
        )
        == echoed
    )
    scored = server.ask(COMPLETIONS, {**body, "echo": True, "logprobs": 0}).body["choices"][0][
        "logprobs"
    ]
    assert len(scored["tokens"]) == len(WORDS) + 4
    assert scored["token_logprobs"][0] is None
    assert all(value <= 0 for value in scored["token_logprobs"][1:])


def test_S51_max_completion_tokens(server: Server) -> None:
    for given in (
        {"max_completion_tokens": 3},
        {"max_tokens": 3},
        {"max_tokens": 3, "max_completion_tokens": 3},
    ):
        body = {"messages": [{"role": "user", "content": WORDS}], "ignore_eos": True, **given}
        assert server.ask(CHAT, body).body["usage"]["completion_tokens"] == 3
    both = {
        "messages": [{"role": "user", "content": WORDS}],
        "max_tokens": 3,
        "max_completion_tokens": 4,
    }
    assert server.ask(CHAT, {**both, "ignore_eos": True}).body["usage"]["completion_tokens"] == 4


def test_S51_token_ids_where_they_are_asked_for(server: Server) -> None:
    for path, body in (
        (CHAT, {"messages": [{"role": "user", "content": "x"}]}),
        (COMPLETIONS, {"prompt": "x"}),
    ):
        asked = {**body, "max_tokens": 3, "temperature": 0, "ignore_eos": True}
        whole = server.ask(path, {**asked, "return_token_ids": True}).body["choices"][0][
            "token_ids"
        ]
        assert len(whole) == 3
        assert "token_ids" not in server.ask(path, asked).body["choices"][0]
        events = server.stream(path, {**asked, "return_token_ids": True}).split(b"\n\n")
        chunks = [
            json.loads(event[6:])["choices"][0] for event in events if event.startswith(b"data: {")
        ]
        assert [token for chunk in chunks for token in chunk.get("token_ids", ())] == whole


def test_S51_a_user_changes_nothing(server: Server) -> None:
    plain, named = (server.chat(WORDS, **more) for more in ({}, {"user": "somebody"}))
    assert named.body["choices"] == plain.body["choices"]
    assert "X-Thespis-Ignored-Fields" not in named.headers


@pytest.mark.parametrize("kind", ["async", "http"])
def test_S51_who_has_priority_goes_first(
    server: Server, llm: LLM, async_face: AsyncFace, kind: str
) -> None:
    """Sixteen run at once; of those who wait, the one with the smallest number."""
    done: list[int] = []

    def answer(priority: int) -> None:
        long = 900 if kind == "http" else 450  # of as many as run at once
        length = long if 100 <= priority < 116 else 100 if priority > 0 else 20
        if kind == "http":
            body = {"prompt": WORDS, "max_tokens": length, "ignore_eos": True, "priority": priority}
            assert server.ask(COMPLETIONS, body).status == 200
        else:
            params = SamplingParams(max_tokens=length, ignore_eos=True)
            async_face.run(async_face.llm.generate(WORDS, params, priority=priority))
        done.append(priority)

    with ThreadPoolExecutor(33) as pool:
        others = [pool.submit(answer, priority) for priority in range(100, 132)]
        while (stats := llm.status().stats["scheduler"])["waiting"] < 8:
            assert len(done) < 16, f"they are too quick for this test: {stats}"
        pool.submit(answer, -1).result()
        assert len(done) < 28, "it has overtaken those who waited: else 32"
        for other in others:
            other.result()


OUT_OF_RANGE: list[tuple[str, Any]] = [
    ("n", 0), ("temperature", -0.1), ("top_p", 0), ("top_p", 1.1), ("top_k", -2), ("min_p", 1.1),
    ("max_tokens", 0),
    ("min_tokens", -1), ("presence_penalty", 2.1), ("frequency_penalty", -2.1),
    ("repetition_penalty", 0),
    ("prompt_logprobs", 51), ("allowed_token_ids", [1 << 20]), ("stop_token_ids", [1 << 20]),
    ("stop", ["x"] * 1025), ("stop", "x" * 70_000), ("bad_words", ["x"] * 1025),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_S51_what_is_out_of_range_is_refused_by_its_name(face: Face, name: str, value: Any) -> None:
    refused = refusal(face, WORDS, **{name: value})
    assert (refused.status, refused.code) == (400, "out_of_range")
    assert name in refused.text


BEYOND = 1 << 20
ODD: list[dict[str, Any]] = [
    {"top_k": 1.5}, {"n": 2.5}, {"seed": 1.5}, {"max_tokens": 3.5}, {"min_tokens": 1.5},
    {"logprobs": 1.5}, {"stop": (5,)},
    {"stop_token_ids": ("a",)}, {"stop_token_ids": (1 << 70,)}, {"logit_bias": {"a": 1.0}},
    {"logit_bias": {5: math.nan}},
    {"logit_bias": {5: math.inf}}, {"logit_bias": {BEYOND: 1.0}}, {"logit_bias": {-3: 1.0}},
    {"allowed_token_ids": (1.5,)},
    {"allowed_token_ids": (-1,)}, {"allowed_token_ids": (BEYOND,)}, {"ignore_eos": "yes"},
    {"temperature": math.nan},
    {"min_p": math.nan}, {"bad_words": (5,)}, {"skip_special_tokens": None},
    {"include_stop_str_in_output": 3},
    {"stop": ("\ud800",)}, {"stop_token_ids": (-1,)},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_S51_values_of_another_kind_end_one_call(
    llm: LLM, async_face: AsyncFace, server: Server, odd: dict[str, Any]
) -> None:
    """Python has values that JSON has not, and nobody types a caller's program. No process reads
    them."""
    before = pids(server)
    for face in (OfflineFace(llm), async_face):
        assert refusal(face, WORDS, **odd).status == 400
    assert pids(server) == before


@pytest.mark.parametrize(
    "options",
    [
        {"mm_processor_kwargs": {5: 1}}, {"media_io_kwargs": {"image": 5}},
        {"media_io_kwargs": {"image": None}},
        {"media_io_kwargs": {"video": [1]}}, {"chat_template_kwargs": {5: 1}}, {"tools": [{5: 1}]},
        {"mm_processor_kwargs": [1]}, {"media_io_kwargs": "ab"}, {"chat_template_kwargs": [5]},
        {"tools": [5]}, {"tools": "ab"},
    ],
    ids=str,
)  # fmt: skip
def test_S50_options_of_another_kind_end_one_call(
    llm: LLM, async_face: AsyncFace, server: Server, options: dict[str, Any]
) -> None:
    before = pids(server)
    for face in (OfflineFace(llm), async_face):
        assert refusal(face, WORDS, **options).status == 400
    assert pids(server) == before


def pids(server: Server) -> dict[str, int]:
    with Spectator(server.run_dir) as looker:
        return {
            role: pid for role, pid in looker.status().pids.items() if not role.startswith("client")
        }


@pytest.fixture(autouse=True)
def nothing_stays_open(llm: LLM) -> Iterator[None]:
    yield
    assert llm._client.admission.taken.requests == 0
