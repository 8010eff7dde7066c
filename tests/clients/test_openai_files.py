"""OpenAI's client at files, batches, embeddings and transcriptions."""

import json
import time
from typing import Any

import openai
import pytest

from . import asked
from .asked import ANSWER, MODEL, PICTURE, QUESTION, SOUND


@pytest.fixture
def api(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def test_files(api: openai.OpenAI) -> None:
    file = api.files.create(file=PICTURE, purpose="vision")
    assert (file.filename, file.bytes) == (PICTURE.name, PICTURE.stat().st_size)
    assert api.files.retrieve(file.id) == file
    assert file.id in [one.id for one in api.files.list()]
    assert api.files.content(file.id).read() == PICTURE.read_bytes()
    question: Any = [
        {"type": "input_image", "file_id": file.id, "detail": "auto"},
        {"type": "input_text", "text": QUESTION},
    ]
    seen: Any = {
        "model": MODEL,
        "temperature": 0,
        "input": [{"role": "user", "content": question}],
    }
    assert api.responses.create(**seen).output_text == ANSWER
    assert api.files.delete(file.id).deleted
    for ask in (api.files.retrieve, api.files.delete, api.files.content):
        with pytest.raises(openai.NotFoundError):
            ask(file.id)
    with pytest.raises(openai.NotFoundError) as gone:
        api.responses.create(**seen)
    assert gone.value.param == "input[0].content[0]"
    with pytest.raises(openai.BadRequestError) as raised:
        api.files.create(file=PICTURE, purpose="fine-tune")
    assert raised.value.param == "purpose"


def run(api: openai.OpenAI, rows: list[Any]) -> Any:
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    file = api.files.create(file=("rows.jsonl", lines), purpose="batch")
    return api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )


def over(api: openai.OpenAI, batch: Any) -> Any:
    end = time.monotonic() + 60
    while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
        assert time.monotonic() < end
        time.sleep(0.1)
        batch = api.batches.retrieve(batch.id)
    return batch


def row(id: str, **body: Any) -> Any:
    asked_for = {"model": MODEL, "temperature": 0, "max_tokens": 16, **body}
    return {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": asked_for}


def test_batches(api: openai.OpenAI) -> None:
    rows = [row("a", messages=asked.SEEN), row("b", messages=asked.BROKEN)]
    batch = over(api, run(api, rows))
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    (answer,) = api.files.content(batch.output_file_id).text.splitlines()
    said = json.loads(answer)["response"]["body"]["choices"][0]["message"]["content"]
    assert (json.loads(answer)["custom_id"], said) == ("a", ANSWER)
    (error,) = api.files.content(batch.error_file_id).text.splitlines()
    assert json.loads(error)["response"]["body"]["error"]["param"] == asked.WHERE
    assert batch.id in [one.id for one in api.batches.list(limit=5)]
    wrong = over(api, run(api, [{"custom_id": "a"}]))
    assert (wrong.status, wrong.errors.data[0].line) == ("failed", 1)


def test_batches_cancelled_half_way(api: openai.OpenAI) -> None:
    endless = {"max_tokens": 900, "ignore_eos": True, "messages": asked.SEEN}
    batch = run(api, [row(str(number), **endless) for number in range(200)])
    api.batches.cancel(batch.id)
    assert over(api, batch).status == "cancelled"


def test_embeddings(vectors: str) -> None:
    api = openai.OpenAI(base_url=vectors, api_key="none", max_retries=0)
    asked_for: Any = {"model": MODEL, "input": ["a red circle", "a sound"]}
    packed = api.embeddings.create(**asked_for)
    plain = api.embeddings.create(**asked_for, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    with pytest.raises(openai.BadRequestError) as raised:
        api.embeddings.create(model=MODEL, input=["a", ""])
    assert raised.value.param == "input[1]"


def test_transcriptions(api: openai.OpenAI) -> None:
    few: Any = {"model": MODEL, "file": SOUND, "extra_body": {"max_completion_tokens": 8}}
    heard = api.audio.transcriptions.create(**few)
    told = list(api.audio.transcriptions.create(**few, stream=True))
    assert told[-1].type == "transcript.text.done"
    assert told[-1].text == heard.text
    text = "".join(one.delta for one in told if one.type == "transcript.text.delta")
    assert text == heard.text
    verbose = api.audio.transcriptions.create(**few, response_format="verbose_json")
    assert [one.text for one in verbose.segments or []] == [heard.text]
    for form, begins in (("text", heard.text), ("srt", "1\n00:00:00,000"), ("vtt", "WEBVTT")):
        shown: Any = api.audio.transcriptions.create(**{**few, "response_format": form})
        assert shown.startswith(begins)
    assert api.audio.translations.create(**few).text is not None
    for stream in (False, True):
        with pytest.raises(openai.UnprocessableEntityError) as raised:
            api.audio.transcriptions.create(model=MODEL, file=PICTURE, stream=stream)
        assert raised.value.param == "file"


async def test_transcriptions_cancelled_half_way(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as api:
        more = {"max_completion_tokens": 900, "stop": [], "repetition_penalty": 1.5}
        stream: Any = await api.audio.transcriptions.create(
            model=MODEL, file=SOUND, stream=True, extra_body=more
        )
        async for _ in stream:
            break
        await stream.close()
    await asked.ends(url)
