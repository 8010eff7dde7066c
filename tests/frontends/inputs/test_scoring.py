"""What may be compared, what is compared with what, and how near it is."""

from typing import Any

import numpy as np
import pytest
import torch

from thespis.frontends.inputs.media import Pending
from thespis.frontends.inputs.nearness import cosines, ranked
from thespis.frontends.inputs.parts import Rules
from thespis.frontends.inputs.scoring import naming, pair_up, read_document
from thespis.frontends.inputs.unread import Unread
from thespis.protocol.errors import RequestError, invalid, refuse
from thespis.protocol.requests.request import ChatMessage, Slot, Text, Url

PICTURE = "data:image/png;base64,cGl4ZWxz"


def read(given: Any) -> tuple[str | ChatMessage, list[Pending], list[str]]:
    media: list[Pending] = []
    unread = Unread()
    return read_document(given, "documents[3]", media, Rules(), unread), media, unread.told


@pytest.mark.parametrize(
    "given",
    [
        "a",
        {"text": "a"},
        {"content": "a"},
        {"content": [{"type": "text", "text": "a"}]},
        {"type": "text", "text": "a"},
    ],
)
def test_a_text_in_any_form_is_a_text(given: Any) -> None:
    assert read(given) == ("a", [], [])


@pytest.mark.parametrize(
    ("given", "content", "where"),
    [
        ({"image": PICTURE}, (Slot(0),), "documents[3].image"),
        ({"image": "cGl4ZWxz"}, (Slot(0),), "documents[3].image"),
        ({"text": "a", "image": PICTURE}, (Slot(0), Text("a")), "documents[3].image"),
        ({"image_url": {"url": PICTURE}, "text": "a"}, (Slot(0), Text("a")), "documents[3]"),
        ({"type": "image_url", "image_url": PICTURE}, (Slot(0),), "documents[3]"),
        (
            {"content": ["a", {"type": "image_url", "image_url": {"url": PICTURE}}]},
            (Text("a"), Slot(0)),
            "documents[3].content[1]",
        ),
    ],
)
def test_a_picture_in_any_form(given: Any, content: tuple[Text | Slot, ...], where: str) -> None:
    found, media, told = read(given)
    assert found == ChatMessage("user", content)
    assert media == [Pending("image", b"pixels", where)]
    assert told == []


def test_a_url_is_fetched_later_and_odd_keys_are_told() -> None:
    found, media, told = read({"image": "https://host/a.png", "text": "a", "title": "b"})
    assert isinstance(found, ChatMessage)
    assert media[0].content == Url("https://host/a.png")
    assert told == ["documents[3].title"]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (7, "documents[3]"),
        (None, "documents[3]"),
        (["a"], "documents[3]"),
        ({}, "documents[3]"),
        ({"title": "a"}, "documents[3]"),
        ({"text": 7}, "documents[3].text"),
        ({"image": {"url": PICTURE}}, "documents[3].image"),
        ({"image": "ftp://host"}, "documents[3].image"),
        ({"image": "no base64!"}, "documents[3].image"),
        ({"image": ""}, "documents[3].image"),
        ({"content": []}, "documents[3].content"),
        ({"content": 7}, "documents[3].content"),
        ({"content": {"text": "a"}}, "documents[3].content"),
        ({"content": [{"type": "image_pil"}]}, "documents[3].content[0].type"),
        ({"type": ["text"]}, "documents[3].type"),
    ],
)
def test_what_is_none_of_them_is_named(given: Any, part: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(given)
    assert refused.value.failure.part == part
    assert refused.value.status == 400


def test_one_beside_each_or_each_beside_its_own() -> None:
    assert pair_up(1, 3) == [(0, 0), (0, 1), (0, 2)]
    assert pair_up(3, 3) == [(0, 0), (1, 1), (2, 2)]
    for first, second in ((3, 1), (2, 3)):
        with pytest.raises(RequestError, match="as many with as many") as refused:
            pair_up(first, second, "text_2")
        assert refused.value.failure.part == "text_2"


def test_cosines_are_torchs() -> None:
    dice = np.random.default_rng(5)
    rows = (dice.standard_normal((40, 64)) * 10 ** dice.uniform(-8, 8, (40, 1))).astype("<f4")
    pairs = [(0, other) for other in range(40)]
    found = cosines(pairs, [rows[0].tobytes()], [row.tobytes() for row in rows])
    given = torch.from_numpy(rows).double()
    right = torch.nn.functional.cosine_similarity(given[:1], given, dim=-1)
    np.testing.assert_allclose(found, right.numpy(), atol=1e-12)
    assert found[0] <= 1.0
    assert cosines([(0, 0)], [bytes(256)], [rows[0].tobytes()]) == [0.0]


def test_the_nearest_first_and_of_equals_the_earlier() -> None:
    assert ranked([0.5, 0.9, 0.5, -1.0], None) == [1, 0, 2, 3]
    assert ranked([0.5, 0.9, 0.5, -1.0], 2) == [1, 0]
    assert ranked([0.5], 9) == [0]


@pytest.mark.parametrize(
    ("failure", "part"),
    [
        (invalid("Too long."), "documents[3]"),
        (invalid("Wrong.", "model"), "model"),
        (refuse("overloaded", "Later."), None),
    ],
)
def test_what_is_wrong_with_an_input_names_it(failure: RequestError, part: str | None) -> None:
    with pytest.raises(RequestError) as named, naming("documents[3]"):
        raise failure
    assert named.value.failure.part == part
