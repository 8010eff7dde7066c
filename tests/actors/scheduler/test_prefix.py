"""Blocks are equal where everything that their keys and values depend on is."""

from array import array
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.actors.scheduler.prefix import HashChain

from .bench import prepared

TOKENS = tuple(range(12))


def hashes(planes: list[list[int]] | None) -> list[bytes]:
    positions = (
        None if planes is None else b"".join(array("i", plane).tobytes() for plane in planes)
    )
    chain = HashChain(msgspec.structs.replace(prepared("r", TOKENS), positions=positions), (), 4)
    chain.extend(TOKENS, [], len(TOKENS))
    return chain.hashes


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("plane", [0, 1, 2, 3])
def test_every_plane_counts_from_the_block_in_which_it_differs(count: int, plane: int) -> None:
    planes = [list(range(12)) for _ in range(count)]
    same = hashes(planes)
    planes[plane % count][6] += 1
    other = hashes(planes)
    assert [a == b for a, b in zip(same, other, strict=True)] == [True, False, False]
    assert hashes(None) != same


def of(tenant: str, rope_bound: int | None) -> list[bytes]:
    chain = HashChain(
        msgspec.structs.replace(prepared("r", TOKENS), tenant=tenant), (), 4, rope_bound
    )
    chain.extend(TOKENS, [], len(TOKENS))
    return chain.hashes


def test_only_beyond_the_bound_are_keys_turned_by_the_length() -> None:
    assert of("a", None) == of("a", len(TOKENS)) != of("a", len(TOKENS) - 1)


def test_no_tenant_is_named_like_another_with_a_length() -> None:
    assert of("12 a", None) != of("a", 8) != of("a", None)


def test_blocks_of_a_stretch_that_sees_itself_both_ways_count_from_its_beginning() -> None:
    """A key in it follows from the tokens, and the items, behind it."""

    def of(tokens: tuple[int, ...], *placed: tuple[int, int, int, str]) -> list[bytes]:
        chain = HashChain(prepared("r", tokens, unbroken=((5, 11),)), placed, 2)
        chain.extend(tokens, [], len(tokens))
        return chain.hashes

    def same(one: list[bytes], other: list[bytes]) -> int:
        return sum(a == b for a, b in zip(one, other, strict=True))

    cat, dog = (9, 10, 0, "cat"), (9, 10, 0, "dog")
    assert same(of(TOKENS), of((*TOKENS[:10], 3, TOKENS[11]))) == 2
    assert same(of(TOKENS, cat), of(TOKENS, dog)) == 2
    assert same(of(TOKENS), of((*TOKENS[:11], 3))) == 5


@pytest.mark.parametrize("prompt", [1, 5, 8])
def test_a_prompt_goes_on_from_no_answer_that_left_other_states(prompt: int) -> None:
    def of(length: int, apart: bool) -> list[bytes]:
        chain = HashChain(prepared("r", TOKENS[:length]), (), 4, answers_apart=apart)
        chain.extend(TOKENS[:length], list(TOKENS[length:]), len(TOKENS))
        return chain.hashes

    whole = of(len(TOKENS), True)
    assert [a == b for a, b in zip(of(prompt, True), whole, strict=True)] == [
        4 * end <= prompt for end in (1, 2, 3)
    ]
    assert of(prompt, False) == whole


@given(st.data())
def test_blocks_are_the_same_whether_they_are_made_at_once_or_as_tokens_come(
    data: st.DataObject,
) -> None:
    """And each differs where an item, a token of the prompt or one of the answer that it holds
    does."""
    length, said = data.draw(st.integers(1, 30)), data.draw(st.integers(0, 12))
    tokens = tuple(range(length + said))
    edges = sorted(data.draw(st.sets(st.integers(0, length), max_size=6)))
    placed = [(first, last, 0, f"item {first}") for first, last in pairwise(edges) if first % 3]

    def of(
        prompt: tuple[int, ...], placed: list[tuple[int, int, int, str]], steps: list[int]
    ) -> list[bytes]:
        chain = HashChain(prepared("r", prompt[:length]), tuple(placed), 4)
        for step in (*steps, len(prompt)):
            chain.extend(prompt[:length], list(prompt[length:step]), min(step, len(prompt)))
        return chain.hashes

    whole = of(tokens, placed, [])
    assert len(whole) == len(tokens) // 4
    steps = sorted(data.draw(st.lists(st.integers(length, len(tokens)), max_size=4)))
    assert of(tokens, placed, steps) == whole
    place = data.draw(st.integers(0, len(tokens) - 1))
    other = of((*tokens[:place], 99, *tokens[place + 1 :]), placed, steps)
    assert [a == b for a, b in zip(whole, other, strict=True)] == [
        place >= 4 * end for end in range(1, len(whole) + 1)
    ]
    if placed:
        first, last, _, key = placed.pop()
        other = of(tokens, [*placed, (first, last, 1, key)], steps)
        assert [a == b for a, b in zip(whole, other, strict=True)] == [
            first >= 4 * end for end in range(1, len(whole) + 1)
        ]


def turned(tokens: int, delta: int, at: int = 3) -> bytes:
    """Three planes; from `at` on they say the same."""
    planes = [[place + (plane if place < at else delta) for place in range(tokens)]
              for plane in range(3)]  # fmt: skip
    return b"".join(array("i", plane).tobytes() for plane in planes)


def test_a_prompt_goes_on_from_an_answer_behind_a_picture() -> None:
    """An answer's tokens are turned as the same ones are in the chat's next prompt."""

    def of(length: int, delta: int) -> HashChain:
        request = msgspec.structs.replace(
            prepared("r", TOKENS[:length]), positions=turned(length, delta), position_delta=delta
        )
        chain = HashChain(request, (), 4)
        chain.extend(TOKENS[:length], list(TOKENS[length:]), len(TOKENS))
        return chain

    first, following, other = of(5, 2), of(12, 2), of(12, 1)
    assert first.hashes == following.hashes
    assert not set(first.hashes) & set(other.hashes)
    said = first.content(TOKENS[:5], list(TOKENS[5:]), 4, 7)
    asked = following.content(TOKENS, [], 4, 8)
    elsewhere = other.content(TOKENS, [], 4, 8)
    assert said is not None
    assert asked is not None
    assert elsewhere is not None
    assert (said.alike(asked), asked.alike(said), said.alike(elsewhere)) == (3, 3, 0)


@given(st.data())
def test_two_blocks_are_alike_up_to_the_first_difference(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 8))
    tokens = tuple(range(2 * size))
    placed = (size - 1, 2 * size - 1, 3, "cat")
    place = data.draw(st.integers(0, size - 1))
    kind = data.draw(st.sampled_from(["token", "item", "row", "end", "position"]))
    other = list(tokens)
    first, last, row, key = placed
    positions = [list(range(2 * size)) for _ in range(3)]
    seen = [list(plane) for plane in positions]
    match kind:
        case "token":
            other[size + place] += 100
        case "item":
            key, place = "dog", 0
        case "row":
            row, place = 4, 0
        case "end":
            last, place = size + place, min(place, size - 1)
        case "position":
            seen[place % 3][size + place] += 1

    def of(ids: tuple[int, ...], planes: list[list[int]], one: tuple[int, int, int, str]) -> Any:
        flat = b"".join(array("i", plane).tobytes() for plane in planes)
        request = msgspec.structs.replace(prepared("r", ids), positions=flat)
        return HashChain(request, (one,), size).content(ids, [], size, 2 * size)

    mine, theirs = of(tokens, positions, placed), of(tuple(other), seen, (first, last, row, key))
    same = size if (first, last, row, key) == placed and kind == "end" else place
    assert mine.alike(theirs) == theirs.alike(mine) == same


def test_of_what_sees_itself_both_ways_no_part_is_copied() -> None:
    chain = HashChain(prepared("r", TOKENS, unbroken=((5, 7),)), (), 4)
    assert chain.content(TOKENS, [], 4, 8) is None
    assert chain.content(TOKENS, [], 8, 12) is not None
    apart = HashChain(prepared("r", TOKENS[:9]), (), 4, answers_apart=True)
    assert apart.content(TOKENS[:9], list(TOKENS[9:]), 8, 12) is None
    assert apart.content(TOKENS[:9], list(TOKENS[9:]), 8, 9) is not None
