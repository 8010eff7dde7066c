"""A call at the door, whose replicas are made up: what its caller gets when they are lost."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from thespis.frontends.client.stream import Choice
from thespis.frontends.openai.answers.carried import Given, SoFar
from thespis.frontends.ray import relay as relays
from thespis.frontends.ray.edge import END, LOST, AnswerHead, AnswerPiece, encode, so_far_of
from thespis.frontends.ray.relay import MOST_LOST, Relay
from thespis.protocol.errors import RequestError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "FIRST_WAIT", 0.0)


class Died(Exception):
    """As Ray tells it."""


def head(replica: str, status: int = 200, whole: bool = False) -> AnswerPiece:
    return "head", encode(AnswerHead(status, [], replica, whole)), b""


def word(text: str, *tokens: int, ended: bool = False) -> AnswerPiece:
    choice = Choice(0, text, list(tokens), finish_reason="stop" if ended else None)
    news = SoFar("id", 1, "", {0: Given(7, "digest", [choice])})
    return "piece", encode([news]), text.encode()


Script = Sequence[AnswerPiece | Exception]


class Replicas:
    """Each call takes the next script; an exception in it is raised."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[tuple[SoFar | None, tuple[str, ...]]] = []

    async def send(self, so_far: bytes, avoid: Sequence[str]) -> AsyncGenerator[AnswerPiece, None]:
        self.asked.append((so_far_of(so_far), tuple(avoid)))
        for piece in self.scripts.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def answer(self, repeats: bool = True) -> tuple[AnswerHead, bytes]:
        told, pieces = await Relay(self.send, repeats, (Died,)).answer()
        return told, b"".join([piece async for piece in pieces])


async def test_a_stream_goes_on_behind_what_its_caller_has() -> None:
    replicas = Replicas(
        [head("a"), word("one ", 1), word("two ", 2, 3), Died()],
        [head("b"), word("three", 4, ended=True), END],
    )
    told, body = await replicas.answer()
    assert (told.replica, body) == ("a", b"one two three")
    (nothing, _), (so_far, avoid) = replicas.asked
    assert nothing is None
    assert so_far is not None
    given = so_far.sources[0]
    assert (given.seed, given.choices[0].token_ids, given.choices[0].text, avoid) == (
        7, [1, 2, 3], "one two ", ("a",),
    )  # fmt: skip
    assert [one.released for one in given.so_far()] == [8]


@pytest.mark.parametrize("end", [[LOST], []])
async def test_an_engine_that_ends_is_lost_too(end: list[AnswerPiece | Exception]) -> None:
    replicas = Replicas([head("a"), word("x", 1), *end], [head("b"), word("y", 2), END])
    assert (await replicas.answer())[1] == b"xy"


async def test_a_loss_before_the_first_word_costs_nothing() -> None:
    replicas = Replicas([Died()], [head("a"), Died()], [head("b"), word("x", 1), END])
    assert (await replicas.answer())[1] == b"x"
    assert [so_far for so_far, _ in replicas.asked] == [None] * 3


async def test_a_whole_answer_is_asked_for_again() -> None:
    half: list[AnswerPiece | Exception] = [head("a", whole=True), ("piece", b"", b"ha"), Died()]
    replicas = Replicas(half, [head("b", whole=True), ("piece", b"", b"whole"), END])
    told, body = await replicas.answer()
    assert (told.replica, body) == ("b", b"whole")


async def test_what_must_not_happen_twice_is_not_asked_for_again() -> None:
    with pytest.raises(RequestError) as caught:
        await Replicas([Died()]).answer(repeats=False)
    assert caught.value.failure.code == "replica_lost"


async def test_bytes_of_which_nothing_was_told_cannot_go_on() -> None:
    with pytest.raises(RequestError, match="lost"):
        await Replicas([head("a"), ("piece", b"", b"x"), Died()]).answer()


async def test_a_request_that_loses_one_replica_after_the_other_ends() -> None:
    once: Script = [head("a"), word("x", 1), Died()]
    replicas = Replicas(*[once for _ in range(MOST_LOST)])
    with pytest.raises(RequestError) as caught:
        await replicas.answer()
    assert caught.value.failure.code == "replicas_lost"


async def test_who_has_no_room_is_followed_by_another_and_at_last_believed() -> None:
    full: Script = [head("a", 429, whole=True), ("piece", b"", b"no"), END]
    replicas = Replicas(full, [head("b"), word("x", 1), END])
    assert (await replicas.answer())[1] == b"x"
    assert replicas.asked[1][1] == ("a",)
    told, body = await Replicas(*[full for _ in range(9)]).answer()
    assert (told.status, body) == (429, b"no")


async def test_a_stream_waits_for_room_elsewhere() -> None:
    full: Script = [head("b", 503, whole=True), ("piece", b"", b"no"), END]
    replicas = Replicas([head("a"), word("x", 1), Died()], full, [head("c"), word("y", 2), END])
    assert (await replicas.answer())[1] == b"xy"
