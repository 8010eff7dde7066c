"""Which lengths of vectors a model gives."""

import msgspec
import pytest

from thespis.frontends.client.wanted import check_wanted
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.pooling import Pooler, PoolingParams

from ...helpers.facts import DEMO


@pytest.mark.parametrize(
    ("pooler", "dimensions", "words"),
    [
        (Pooler(), 8, "was made for fewer"),
        (Pooler(matryoshka=True), 8, None),
        (Pooler(matryoshka=True), 129, "1 to 128 numbers"),
        (Pooler(matryoshka=True, dimensions=(16, 32)), 16, None),
        (Pooler(matryoshka=True, dimensions=(16, 32)), 8, "16, 32 numbers"),
    ],
)
def test_dimensions(pooler: Pooler, dimensions: int, words: str | None) -> None:
    maker = msgspec.structs.replace(DEMO, output="vector", pooler=pooler)
    if words is None:
        check_wanted(maker, "it", PoolingParams(dimensions=dimensions))
        return
    with pytest.raises(RequestError, match=words) as refused:
        check_wanted(maker, "it", PoolingParams(dimensions=dimensions))
    assert refused.value.failure.part == "dimensions"


def test_a_model_makes_one_of_the_two() -> None:
    with pytest.raises(RequestError, match="makes text and no vectors"):
        check_wanted(DEMO, "it", PoolingParams())
    with pytest.raises(RequestError, match="makes vectors and no text"):
        check_wanted(msgspec.structs.replace(DEMO, output="vector", pooler=Pooler()), "it", None)
    check_wanted(DEMO, "it", None)


def test_a_prompt_is_known_by_its_name() -> None:
    maker = msgspec.structs.replace(
        DEMO, output="vector", pooler=Pooler(prompts={"query": "find: ", "document": ""})
    )
    for name in ("query", "document", "", None):
        check_wanted(maker, "it", PoolingParams(prompt_name=name))
    with pytest.raises(RequestError, match="no prompt of this name; there are: document, query"):
        check_wanted(maker, "it", PoolingParams(prompt_name="Query"))
