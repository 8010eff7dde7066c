"""The body of /v1/embeddings is written while it is made: of a large call never all of it is there
as text."""

import base64
import json
import tracemalloc

import numpy as np
import pytest

from thespis.frontends.client.answer import Answer
from thespis.frontends.openai.embeddings.handler import PIECE, pieces
from thespis.protocol.edges.detokenizer_to_client import Finished
from thespis.protocol.edges.scheduler_to_detokenizer import Usage, Vectors

WIDTH = 2048
HEAD: dict[str, object] = {"id": "embd-1", "object": "list", "created": 1, "model": "m"}


def answers(count: int) -> list[Answer]:
    dice = np.random.default_rng(0)
    made = [Answer(0) for _ in range(count)]
    for index, answer in enumerate(made):
        answer.vectors = Vectors(
            f"{index}", 0, 1, dice.standard_normal(WIDTH).astype("<f4").tobytes()
        )
        answer.finished = Finished(f"{index}", 0, Usage(3, 1, {}, 0), 0, ())
    return made


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("count", [1, 40])
def test_the_pieces_are_one_body(form: str, count: int) -> None:
    given = answers(count)
    body = json.loads(b"".join(pieces(HEAD, given, form)))
    assert {key: body[key] for key in HEAD} == HEAD
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == 3 * count
    assert [item["index"] for item in body["data"]] == list(range(count))
    for item, answer in zip(body["data"], given, strict=True):
        said = item["embedding"]
        assert answer.vectors is not None
        numbers = (
            np.frombuffer(base64.b64decode(said), "<f4")
            if form == "base64"
            else np.array(said, "<f4")
        )
        assert numbers.tobytes() == answer.vectors.data


def test_a_large_call_takes_the_memory_of_a_piece() -> None:
    given = answers(200)
    tracemalloc.start()
    sizes = [len(piece) for piece in pieces(HEAD, given, "float")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    longest = 30 * WIDTH
    assert max(sizes) < PIECE + longest
    assert sum(sizes) > 30 * PIECE
    assert peak < 8 * (PIECE + longest)
