"""From rows of a dataset to lines of a batch, and from answers to a table."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thespis.frontends.openai.batches.lines import row, undone
from thespis.frontends.ray.batches.batch import batch
from thespis.frontends.ray.batches.columns import columns_of
from thespis.frontends.ray.batches.rows import RowForm, id_of, line_of
from thespis.protocol.errors import RequestError

FILES = [b"one", {"bytes": b"two", "path": None}]
ROUND: list[Any] = []
ROUND.append(ROUND)


def body_of(row: dict[str, Any], **form: Any) -> Any:
    return json.loads(bytes(line_of({"custom_id": "a", **row}, RowForm(**form)).body))


def parts_of(row: dict[str, Any]) -> Any:
    return body_of({"prompt": "What?", **row})["messages"][0]["content"]


def file_in(part: dict[str, Any]) -> bytes:
    url: str = part[part["type"]]["url"]
    return base64.b64decode(url.partition(";base64,")[2])


@pytest.mark.parametrize("given", [FILES, np.array(FILES, object)])
def test_a_prompt_becomes_a_message_with_the_rows_media_before_it(given: Any) -> None:
    assert parts_of({}) == "What?"
    assert parts_of({"image": None, "videos": []}) == "What?"
    parts = parts_of(
        {
            "images": given,
            "audio": b"sound",
            "video": "https://there/clip.mp4",
        }
    )
    kinds = ["image_url", "image_url", "video_url", "audio_url", "text"]
    assert [part["type"] for part in parts] == kinds
    assert [file_in(parts[at]) for at in (0, 1, 3)] == [b"one", b"two", b"sound"]
    assert parts[2]["video_url"] == {"url": "https://there/clip.mp4"}
    assert parts[4] == {"type": "text", "text": "What?"}


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 3), (3, 5, 4)])
def test_pixels_that_ray_has_read_become_a_picture(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    picture = Image.open(BytesIO(file_in(parts_of({"image": pixels})[0])))
    assert np.array_equal(np.asarray(picture), pixels.squeeze())


def test_messages_of_a_table_lose_the_nulls_that_it_has_added() -> None:
    text = {"type": "text", "text": "Hi", "image_url": None}
    picture = {"type": "image_url", "text": None, "image_url": {"url": "data:,"}}
    given = np.array([{"role": "user", "content": np.array([text, picture], object)}], object)
    message = body_of({"messages": given})["messages"][0]
    assert message["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
    ]
    assert body_of({"messages": '[{"role":"user","content":"Hi"}]'})["messages"][0]["role"] == (
        "user"
    )


def test_a_body_is_taken_as_it_is_and_params_are_what_it_leaves_out() -> None:
    params = {"max_tokens": 4, "temperature": 0}
    for body in ('{"prompt":"x","max_tokens":8}', {"prompt": "x", "max_tokens": 8, "n": None}):
        line = line_of({"custom_id": 7, "body": body, "url": "/v1/completions"}, RowForm())
        assert (line.custom_id, line.url) == ("7", "/v1/completions")
        got = body_of({"body": body}, params=params)
        assert got == {"prompt": "x", "max_tokens": 8, "temperature": 0}


def test_a_function_of_the_caller_makes_the_body() -> None:
    def request(row: dict[str, Any]) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": {"url": row["picture"]}}
        return {"messages": [{"role": "user", "content": [part]}], "top_k": np.int64(3)}

    body = body_of({"picture": b"file", "url": "a page"}, body_of=request)
    assert file_in(body["messages"][0]["content"][0]) == b"file"
    assert body["top_k"] == 3


@pytest.mark.parametrize(
    ("row", "form", "code"),
    [
        ({}, {}, "no_prompt"),
        ({"prompt": 3}, {}, "no_prompt"),
        ({"prompt": "x", "image": 3}, {}, "invalid_media"),
        ({"prompt": "x", "image": {"bytes": None}}, {}, "invalid_media"),
        ({"prompt": "x", "image": np.zeros((2, 2, 3), np.float32)}, {}, "invalid_media"),
        ({"prompt": "x", "image": np.zeros((0, 2, 3), np.uint8)}, {}, "invalid_media"),
        ({"body": "{"}, {}, "invalid_body"),
        ({"body": "[]"}, {}, "invalid_body"),
        ({"messages": "["}, {}, "invalid_body"),
        ({"prompt": "x", "url": 3}, {}, "invalid_url"),
        ({"body": {"at": object()}}, {}, "invalid_request"),
        ({"body": {"at": ROUND}}, {}, "invalid_request"),
        ({}, {"body_of": lambda row: row["nothing"]}, "invalid_row"),
        ({}, {"body_of": lambda row: "text"}, "invalid_row"),
    ],
)
def test_a_wrong_row_is_refused_by_the_name_of_its_column(
    row: dict[str, Any], form: dict[str, Any], code: str
) -> None:
    with pytest.raises(RequestError) as error:
        body_of(row, **form)
    assert (error.value.failure.code or error.value.failure.kind) == code


def test_ids_are_texts_and_whole_numbers() -> None:
    assert [id_of(one) for one in ("a", 0, np.int64(12))] == ["a", "0", "12"]
    for wrong in (None, True, 1.5, "", "x" * 513, b"a", "a\ud800", np.bool_(True)):
        with pytest.raises(RequestError):
            id_of(wrong)


def test_lines_become_columns() -> None:
    chat = json.dumps({"choices": [{"message": {"content": "red"}}, {"message": {}}]}).encode()
    plain = b'{"choices":[{"text":"blue"}]}'
    output = [{"type": "reasoning"}, {"content": [{"type": "output_text", "text": "green"}]}]
    response = json.dumps({"output": output, "error": None}).encode()
    wrong = b'{"error":{"message":"Too long.","code":"too_long"}}'
    lines = [
        row("a", 200, chat, "r1"),
        row("b", 200, plain, "r2"),
        row("c", 200, response, "r3"),
        row("d", 200, b'{"data":[{"embedding":[1.0]}]}', "r4"),
        row("e", 400, wrong, "r5"),
        undone("f", {"code": "no_prompt", "message": "A row has a prompt."}),
    ]
    columns = columns_of(lines)
    assert columns["custom_id"] == list("abcdef")
    assert columns["status_code"] == [200, 200, 200, 200, 400, None]
    assert columns["text"] == ["red", "blue", "green", None, None, None]
    assert columns["error"] == [None] * 4 + ["Too long.", "A row has a prompt."]
    assert columns["response"][1] == plain.decode()
    assert columns["request_id"][:2] == ["r1", "r2"]


@pytest.mark.parametrize(
    "given", [{"params": {"max_tokens": 4}}, {"request": dict}, {"id_column": "number"}]
)
def test_a_file_has_whole_requests(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{batch.__module__}.check_installed", lambda what: None)
    with pytest.raises(ValueError, match="go with a dataset"):
        batch(tmp_path / "questions.jsonl", tmp_path / "answers.jsonl", **given)
