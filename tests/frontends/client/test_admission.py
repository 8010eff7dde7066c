"""The door: what it lets in, in which order, and that nothing is ever lost of the share."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.client.admission import Admission, Cost, estimate_tokens
from thespis.protocol.edges.control import Share
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.requests.request import TokenPrompt
from thespis.protocol.requests.sampling import SamplingParams

ONE = Cost(1, 10, 100)


def test_beyond_the_share_is_refused_at_once() -> None:
    door = Admission(Share(1, 100, 1000))
    door.try_take(ONE)
    with pytest.raises(RequestError) as caught:
        door.try_take(ONE)
    assert caught.value.status == 429


def test_a_body_that_could_not_be_taken_is_refused_by_its_length() -> None:
    door = Admission(Share(2, 100, 3 << 20))
    with door.expecting(1 << 30):  # alone it would be let in, however large
        pass
    door.try_take(ONE)
    with door.expecting(1000):
        pass
    with door.expecting(3 << 20):
        pass
    with pytest.raises(RequestError), door.expecting(5 << 20):
        pass
    door.try_take(ONE)
    with pytest.raises(RequestError), door.expecting(0):
        pass
    assert door.taken.requests == 2, "nothing is taken by looking"


def test_bodies_that_are_being_read_have_their_places() -> None:
    door = Admission(Share(2, 100, 6 << 20))
    door.try_take(ONE)
    with door.expecting(4 << 20), pytest.raises(RequestError), door.expecting(0):
        pass
    door.give(ONE)
    with door.expecting(4 << 20):
        with pytest.raises(RequestError), door.expecting(6 << 20):
            pass
        with door.expecting(1000):
            pass
    with door.expecting(1 << 30), door.expecting(1000):
        pass


def test_a_request_larger_than_the_share_runs_alone() -> None:
    door = Admission(Share(4, 5, 5))
    door.try_take(ONE)
    with pytest.raises(RequestError):
        door.try_take(ONE)


async def test_waiters_come_in_order() -> None:
    door = Admission(Share(1, 100, 1000))
    door.try_take(ONE)
    order: list[int] = []

    async def wait(index: int) -> None:
        await door.take(ONE)
        order.append(index)

    waiters = [asyncio.create_task(wait(i)) for i in range(3)]
    await asyncio.sleep(0)
    for count in range(1, 4):
        door.give(ONE)
        await asyncio.sleep(0)
        assert order == list(range(count))
    await asyncio.gather(*waiters)


async def test_a_cancelled_waiter_takes_nothing() -> None:
    door = Admission(Share(1, 100, 1000))
    door.try_take(ONE)
    waiter = asyncio.create_task(door.take(ONE))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    door.give(ONE)
    door.try_take(ONE)
    assert door.taken.requests == 1


async def test_a_larger_share_admits_who_waits() -> None:
    door = Admission(Share(1, 100, 1000))
    door.try_take(ONE)
    waiter = asyncio.create_task(door.take(ONE))
    await asyncio.sleep(0)
    door.reshare(Share(2, 100, 1000))
    await waiter
    assert door.taken.requests == 2


async def test_a_closed_door_refuses_who_waits_and_who_comes() -> None:
    door = Admission(Share(1, 100, 1000))
    door.try_take(ONE)
    waiter = asyncio.create_task(door.take(ONE))
    await asyncio.sleep(0)
    door.close(Failure("restarted", "Closed.", code="shutting_down"))
    with pytest.raises(RequestError, match="Closed"):
        await waiter
    with pytest.raises(RequestError, match="Closed"):
        door.try_take(ONE)
    with pytest.raises(RequestError, match="Closed"), door.expecting(0):
        pass
    door.give(ONE)
    assert door.taken.requests == 0


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 600)), max_size=40))
def test_everything_given_back_leaves_an_empty_house(costs: list[tuple[int, int]]) -> None:
    door = Admission(Share(8, 200, 2000))
    inside: list[Cost] = []
    for tokens, media in costs:
        cost = Cost(1, tokens, media)
        try:
            door.try_take(cost)
        except RequestError:
            door.give(inside.pop(0))
        else:
            inside.append(cost)
        assert len(inside) <= 8
        assert len(inside) <= 1 or sum(c.tokens for c in inside) <= 200
    for cost in inside:
        door.give(cost)
    assert door.taken.requests == 0


@pytest.mark.parametrize("most", [100, 1 << 31])
def test_no_answer_counts_for_more_than_the_context(most: int) -> None:
    """`max_tokens` beyond it is cut: such a request took the place of all, and was refused or
    waited until it was alone."""
    prompt = TokenPrompt((5, 6, 7))
    assert estimate_tokens(prompt, SamplingParams(n=2, max_tokens=most), 100) == 203
    assert estimate_tokens(prompt, SamplingParams(max_tokens=None), 64) == 67
