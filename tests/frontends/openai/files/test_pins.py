"""Pins of files over HTTP: who may set them, what is told of them, and when they end."""

from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest
from PIL import Image

from thespis.actors.jobs.identity import pin_name
from thespis.frontends.client.stream import Stream
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.requests.pooling import PoolingParams
from thespis.protocol.requests.prepared import ItemSource
from thespis.protocol.requests.request import MediaItem, Prompt
from thespis.protocol.requests.sampling import SamplingParams

from ..fake import FakeClient, http_config, served

TWO = ("sesame", "poppy")
NOT_KEPT = Failure("unavailable", "It is not on disk.", "pin", "not_kept")
FULL = Failure("too_large", "With it you would pin more than one may.", "pin", "too_much_pinned")


class PinningClient(FakeClient):
    """Whose encoder-cache has a folder; `pins` has what is pinned there, by owner."""

    def __init__(self) -> None:
        super().__init__()
        self.pins: dict[str, tuple[str, str, float | None]] = {}
        self.refusals: list[Failure] = []
        self.unpinned: list[str] = []
        self.wanted: list[SamplingParams | PoolingParams] = []

    async def submit(
        self,
        prompt: Prompt,
        media: Sequence[MediaItem],
        sampling: SamplingParams | PoolingParams,
        **more: Any,
    ) -> Stream:
        self.wanted.append(sampling)
        played = SamplingParams() if isinstance(sampling, PoolingParams) else sampling
        stream = await super().submit(prompt, media, played, **more)
        stream.sources = (ItemSource("file", "image", ("key",), 1, False, "name on disk"),)
        return stream

    async def pin(self, tenant: str, owner: str, name: str, expires: float | None) -> None:
        if self.refusals:
            raise RequestError(self.refusals.pop(0))
        self.pins[owner] = tenant, name, expires

    async def unpin(self, owner: str) -> None:
        if self.refusals:
            raise RequestError(self.refusals.pop(0))
        self.unpinned.append(owner)
        self.pins.pop(owner, None)


@pytest.fixture
def client() -> PinningClient:
    return PinningClient()


@pytest.fixture
async def url(client: PinningClient, tmp_path: Path) -> AsyncIterator[str]:
    engine = {"encoder_cache_dir": str(tmp_path / "cache")}
    config = http_config(engine=engine, data_folder=str(tmp_path / "data"), api_key=TWO)
    async with served(client, config) as url:
        yield url


def picture() -> bytes:
    data = BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, "PNG")
    return data.getvalue()


async def upload(url: str, data: bytes = b"", **fields: Any) -> dict[str, Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sesame", max_retries=0) as api:
        made = await api.files.create(
            file=("x.png", data or picture()), purpose="vision", extra_body=fields
        )
        return made.model_dump()


async def call(method: str, url: str, key: str = "sesame", **more: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url, **more) as response,
    ):
        return response.status, await response.json()


async def test_a_file_is_pinned_with_its_upload_and_unpinned_when_it_goes(
    client: PinningClient, url: str
) -> None:
    made = await upload(url, pin=True)
    assert (made["warm"], made["pin"], made["pinned"]) == ({"done": True}, {"done": True}, True)
    [(owner, (tenant, name, expires))] = client.pins.items()
    assert (owner, name, expires) == (pin_name(tenant, made["id"]), "name on disk", None)
    assert len(client.submitted) == 1, "warmed once"
    place = f"{url}/v1/files/{made['id']}"
    assert (await call("GET", place))[1]["pinned"] is True
    assert (await call("GET", f"{url}/v1/files"))[1]["data"][0]["pinned"] is True
    assert (await call("DELETE", place))[0] == 200
    assert client.pins == {}
    assert set(client.unpinned) == {owner}


async def test_a_model_of_vectors_encodes_what_is_pinned(client: PinningClient, url: str) -> None:
    """It was asked for text, and refused every pin."""
    client.model = msgspec.structs.replace(client.model, output="vector")
    assert (await upload(url, pin=True))["pinned"] is True
    assert client.wanted == [PoolingParams()]


async def test_a_pin_can_be_set_and_taken_away_later(client: PinningClient, url: str) -> None:
    lasts: dict[str, Any] = {"expires_after[anchor]": "created_at", "expires_after[seconds]": 60}
    made = await upload(url, **lasts)
    assert made["pinned"] is False
    assert "pin" not in made
    place = f"{url}/v1/files/{made['id']}"
    for _ in range(2):
        status, told = await call("POST", f"{place}/pin")
        assert (status, told["id"], told["pinned"]) == (200, made["id"], True)
    [(_, _, expires)] = client.pins.values()
    assert expires is not None, "it ends with the file"
    assert int(expires) == made["expires_at"]
    for _ in range(2):
        status, told = await call("DELETE", f"{place}/pin")
        assert (status, told["pinned"]) == (200, False)
    assert client.pins == {}
    assert (await call("GET", place))[1]["pinned"] is False


async def test_another_tenant_neither_pins_nor_unpins(client: PinningClient, url: str) -> None:
    made = await upload(url, pin=True)
    place = f"{url}/v1/files/{made['id']}"
    for method in ("POST", "DELETE"):
        status, told = await call(method, f"{place}/pin", "poppy")
        assert (status, told["error"]["code"]) == (404, "not_found")
    assert (await call("DELETE", place, "poppy"))[0] == 404
    assert (len(client.pins), client.unpinned) == (1, [])


async def test_what_memory_alone_has_is_made_anew(client: PinningClient, url: str) -> None:
    client.refusals = [NOT_KEPT]
    assert (await upload(url, pin=True))["pinned"] is True
    eras = [more["era"] for _, _, _, more in client.submitted]
    assert eras[0] is None
    assert eras[1].startswith("pin ")


async def test_what_cannot_be_pinned_is_stored_and_said(client: PinningClient, url: str) -> None:
    client.refusals = [FULL]
    made = await upload(url, pin=True)
    assert (made["warm"], made["pinned"]) == ({"done": True}, False)
    assert made["pin"]["error"]["code"] == "too_much_pinned"
    client.refusals = [NOT_KEPT, NOT_KEPT]
    status, told = await call("POST", f"{url}/v1/files/{made['id']}/pin")
    assert (status, told["error"]["code"]) == (503, "not_kept")
    text = await upload(url, b"hello", pin=True)
    assert text["pin"] == text["warm"]
    assert (text["pin"]["error"]["code"], text["pinned"]) == ("not_warmed", False)
    assert client.pins == {}


async def test_a_file_whose_pin_cannot_be_taken_away_stays(client: PinningClient, url: str) -> None:
    place = f"{url}/v1/files/{(await upload(url, pin=True))['id']}"
    client.refusals = [Failure("restarted", "Again.", code="restarted")]
    assert (await call("DELETE", place))[0] == 503
    assert (await call("GET", place))[1]["pinned"] is True
    assert (await call("DELETE", place))[0] == 200
    assert client.pins == {}


async def test_without_a_folder_nothing_is_pinned_nor_stored(tmp_path: Path) -> None:
    config = http_config(data_folder=str(tmp_path / "data"), api_key=TWO)
    client = PinningClient()
    async with served(client, config) as url:
        with pytest.raises(openai.BadRequestError, match="--encoder-cache-dir") as error:
            await upload(url, pin=True)
        assert error.value.code == "pin_disabled"
        assert (await call("GET", f"{url}/v1/files"))[1]["data"] == []
        place = f"{url}/v1/files/{(await upload(url))['id']}"
        status, told = await call("POST", f"{place}/pin")
        assert (status, told["error"]["code"]) == (400, "pin_disabled")
        assert (await call("DELETE", f"{place}/pin"))[0] == 200
        assert (await call("DELETE", place))[0] == 200
    assert (client.pins, client.unpinned) == ({}, [])


async def test_what_is_no_file_or_no_way_to_ask_is_refused(client: PinningClient, url: str) -> None:
    place = f"{url}/v1/files/{(await upload(url))['id']}"
    for id in ("file-" + "0" * 40, "x", "..%2fx", "%00", "x" * 4000):
        for method in ("POST", "DELETE"):
            assert (await call(method, f"{url}/v1/files/{id}/pin"))[0] in (400, 404)
    assert (await call("GET", f"{place}/pin"))[0] == 405
    assert (await call("POST", f"{place}/pin/x"))[0] == 404
    assert (await call("POST", f"{place}/pin", "wrong"))[0] == 401
    assert client.pins == {}


async def test_a_body_that_says_something_is_refused_where_nothing_reads_it(url: str) -> None:
    made = await upload(url)
    place = f"{url}/v1/files/{made['id']}/pin"
    for body in ({"json": {"ttl": 60}}, {"data": b"x" * 3}, {"data": _pieces()}):
        status, told = await call("POST", place, **body)
        assert (status, told["error"]["code"]) == (400, "unexpected_body")
    assert (await call("GET", f"{url}/v1/files/{made['id']}"))[1]["pinned"] is False
    assert (await call("POST", place, json={}))[0] == 200


async def _pieces() -> AsyncIterator[bytes]:
    yield b"{}"
