"""Uploaded files in the parts of messages: as if their bytes stood there, for their tenant."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from blake3 import blake3

from thespis.actors.jobs.identity import known_digest
from thespis.frontends.inputs.conversations import read_chat
from thespis.frontends.inputs.media import filed, filed_id, read_url
from thespis.protocol.edges.control import Share
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import Encoded, MediaItem, Url

from ..fake import FakeClient, http_config, post, served

TWO = ("sesame", "poppy")
KEY = {"Authorization": "Bearer sesame"}
CHAT = "/v1/chat/completions"
DATA = b"picture" * 10_000


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[FakeClient, str]]:
    config = http_config(data_folder=str(tmp_path / "data"), api_key=TWO)
    async with served(client := FakeClient(), config) as url:
        yield client, url


async def uploaded(url: str, key: str = "sesame", data: bytes = DATA) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as api:
        return (await api.files.create(file=("x.png", data), purpose="vision")).id


def asked(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*parts, {"type": "text", "text": "?"}]}]}


FORMS: list[tuple[str, Any]] = [
    ("image", lambda id: {"type": "image_url", "image_url": {"file_id": id}}),
    ("image", lambda id: {"image_url": {"file_id": id}}),
    ("image", lambda id: {"type": "image_url", "file_id": id}),
    ("image", lambda id: {"type": "input_image", "file_id": id, "detail": "auto"}),
    ("image", lambda id: {"type": "input_image", "image_url": None, "file_id": id}),
    ("video", lambda id: {"type": "video_url", "video_url": {"file_id": id, "fps": 2}}),
    ("audio", lambda id: {"type": "audio_url", "audio_url": {"file_id": id}}),
    ("audio", lambda id: {"type": "input_audio", "input_audio": {"file_id": id}}),
]


@pytest.mark.parametrize("form", range(len(FORMS)))
async def test_a_file_stands_for_its_bytes(server: tuple[FakeClient, str], form: int) -> None:
    client, url = server
    modality, part = FORMS[form]
    id = await uploaded(url)
    status, body, headers = await post(url, CHAT, asked(part(id)), headers=KEY)
    assert status == 200, body
    assert "X-Thespis-Ignored-Fields" not in headers
    (item,) = client.submitted[0][1]
    assert (item.modality, item.where) == (modality, "messages[0].content[0]")
    assert isinstance(item.source, Encoded)
    assert client.blobs[item.source.blob.offset][: len(DATA)] == DATA
    assert item.source.blob.nbytes == len(DATA)
    assert item.digest == f"blake3:{blake3(DATA).hexdigest()}"


async def test_files_and_data_stand_side_by_side_in_a_small_body_and_in_a_large_one(
    server: tuple[FakeClient, str],
) -> None:
    client, url = server
    id = await uploaded(url)
    for size in (100, 1 << 21):
        inline = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * size}}
        file = {"type": "image_url", "image_url": {"file_id": id}}
        body = BytesIO(json.dumps(asked(inline, file, file)).encode())
        headers = {**KEY, "Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{url}{CHAT}", data=body) as response,
        ):
            assert response.status == 200, await response.text()
        sources = [item.source for item in client.submitted[-1][1]]
        sizes = [source.blob.nbytes for source in sources if isinstance(source, Encoded)]
        assert sizes == [size // 4 * 3, len(DATA), len(DATA)]


@pytest.mark.parametrize(
    ("part", "status", "code", "param"),
    [
        ({"type": "image_url", "image_url": {"file_id": "file-" + "0" * 38}}, 404, "not_found", ""),
        ({"type": "image_url", "image_url": {"file_id": "../x"}}, 404, "not_found", ""),
        ({"type": "image_url", "image_url": {"file_id": 7}}, 400, "wrong_type",
         ".image_url.file_id"),
        ({"type": "input_image", "file_id": "x" * 200}, 400, "invalid_file_id", ".file_id"),
        ({"type": "image_url", "image_url": {"file_id": "x", "url": "http://x/"}}, 400,
         "contradicting_fields", ".image_url.file_id"),
        ({"type": "image_url", "image_url": "http://x/", "file_id": "x"}, 400,
         "contradicting_fields", ".file_id"),
        ({"type": "image_url", "image_url": {"file_id": "x"}, "file_id": "x"}, 400,
         "contradicting_fields", ".file_id"),
        ({"type": "image_url", "image_url": {"url": "filed:file-0"}}, 400, "invalid_url", ""),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_with_its_place(
    server: tuple[FakeClient, str], part: Any, status: int, code: str, param: str
) -> None:
    client, url = server
    told, body, _ = await post(url, CHAT, asked(part), headers=KEY)
    assert (told, body["error"]["code"]) == (status, code)
    assert body["error"]["param"] == f"messages[0].content[0]{param}"
    assert not client.submitted


async def test_a_file_of_another_tenant_is_not_there(server: tuple[FakeClient, str]) -> None:
    client, url = server
    id = await uploaded(url, "poppy")
    part = {"type": "image_url", "image_url": {"file_id": id}}
    status, body, _ = await post(url, CHAT, asked(part), headers=KEY)
    assert (status, body["error"]["param"]) == (404, "messages[0].content[0]")
    assert not client.submitted


async def test_a_file_named_many_times_takes_no_more_room_than_there_is(
    server: tuple[FakeClient, str],
) -> None:
    client, url = server
    client.admission.reshare(Share(1000, 1 << 40, 3 * len(DATA)))
    part = {"type": "image_url", "image_url": {"file_id": await uploaded(url)}}
    status, body, _ = await post(url, CHAT, asked(*[part] * 4), headers=KEY)
    assert (status, body["error"]["param"]) == (429, "messages[0].content[3]")
    status, _, _ = await post(url, CHAT, asked(*[part] * 3), headers=KEY)
    assert status == 200, "what the refused one had held is free again"


async def test_a_refused_request_leaves_no_draft(
    server: tuple[FakeClient, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, url = server
    id, paths = await uploaded(url), list[str]()
    make = client.draft

    def noted(spare: bool = False) -> tuple[str, int]:
        path, file = make(spare)
        paths.append(path)
        return path, file

    monkeypatch.setattr(client, "draft", noted)
    client.room = 10
    part = {"type": "image_url", "image_url": {"file_id": id}}
    assert (await post(url, CHAT, asked(part), headers=KEY))[0] == 429
    assert [Path(path).exists() for path in paths] == [False]


def test_no_caller_can_write_the_mark_of_a_file() -> None:
    assert filed_id(filed("x")) == "x"
    assert filed_id(Url("http://filed:x")) is None
    for url in ("filed:x", "FILED:x", " filed:x"):
        with pytest.raises(RequestError):
            read_url(url, "image", "here")
    part = {"type": "image_url", "image_url": {"file_id": "x"}}
    with pytest.raises(RequestError) as error:
        read_chat([{"role": "user", "content": [part]}])
    assert "uploaded to a server" in str(error.value)


def test_a_digest_is_believed_only_of_the_same_hasher_and_of_a_file() -> None:
    blob = BlobRef("/dev/shm/x", 0, "uint8", (3,))
    item = MediaItem("image", Encoded(blob), "here", digest="blake3:ab")
    assert known_digest("blake3", item) == "ab"
    assert known_digest("sha256", item) is None
    fetched = MediaItem("image", Url("http://x/"), "here", digest="blake3:ab")
    assert known_digest("blake3", fetched) is None
    assert known_digest("blake3", MediaItem("image", Encoded(blob), "here")) is None


async def test_a_file_that_is_warmed_has_been_asked_about(server: tuple[FakeClient, str]) -> None:
    client, url = server
    picture = b"\x89PNG\r\n\x1a\n" + DATA
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sesame", max_retries=0) as api:
        made = await api.files.create(
            file=("x.png", picture), purpose="vision", extra_body={"warm": True}
        )
        assert made.model_dump()["warm"] == {"done": True}
        ((_, (item,), sampling, _),) = client.submitted
        assert (item.modality, sampling.max_tokens) == ("image", 1)
        assert item.digest == f"blake3:{blake3(picture).hexdigest()}"
        text = await api.files.create(
            file=("x.txt", b"hello"), purpose="user_data", extra_body={"warm": True}
        )
        told = text.model_dump()["warm"]
        assert (told["done"], told["error"]["code"]) == (False, "not_warmed")
        client.refusal = Failure("overloaded", "Full.", code="overloaded")
        busy = await api.files.create(
            file=("x.png", picture), purpose="vision", extra_body={"warm": True}
        )
        assert busy.model_dump()["warm"]["error"]["code"] == "overloaded"
        assert (await api.files.retrieve(busy.id)).id == busy.id


async def test_a_picture_of_anthropics_api_may_be_a_file(server: tuple[FakeClient, str]) -> None:
    client, url = server
    block = {"type": "image", "source": {"type": "file", "file_id": await uploaded(url)}}
    body = {"model": "fake-model", "max_tokens": 4, **asked(block)}
    status, told, _ = await post(url, "/v1/messages", body, headers=KEY)
    assert status == 200, told
    assert client.submitted[0][1][0].digest == f"blake3:{blake3(DATA).hexdigest()}"


async def test_a_part_that_does_not_say_what_it_is_is_told_by_the_file(
    server: tuple[FakeClient, str],
) -> None:
    client, url = server
    for data, modality in (
        (b"\x89PNG\r\n\x1a\n" + DATA, "image"),
        (b"RIFF\0\0\0\0WAVE", "audio"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"%PDF-1.7\n" + DATA, "document"),
    ):
        id = await uploaded(url, data=data)
        parts = ({"type": "input_file", "file_id": id}, {"type": "file", "file": {"file_id": id}})
        for part in parts:
            status, told, _ = await post(url, CHAT, asked(part), headers=KEY)
            assert status == 200, told
            assert client.submitted[-1][1][0].modality == modality
