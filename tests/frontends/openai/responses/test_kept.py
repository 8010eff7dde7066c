"""Responses that are kept: `previous_response_id`, references, reading and removal, each key's
own."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from thespis.frontends.openai.responses import history, kept
from thespis.frontends.openai.responses.items import (
    ListedItem,
    Place,
    ids_of,
    listed,
    place_of,
)
from thespis.frontends.openai.responses.kept import KeptResponse, KeptResponses
from thespis.frontends.openai.stored.storage import Storage
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatPrompt, Encoded, Text

from ..fake import FakeClient, http_config, post, served

PICTURE = "data:image/png;base64,aGVsbG8="
LOOK: Any = [
    {
        "role": "user",
        "content": [
            {"type": "input_image", "image_url": PICTURE},
            {"type": "input_text", "text": "What is it?"},
        ],
    }
]


def connect(url: str, key: str = "alice") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


@pytest.fixture
def config(tmp_path: Path) -> Any:
    return http_config(data_folder=str(tmp_path / "data"), api_key=("alice", "bob"))


def said(client: FakeClient, number: int = -1) -> list[tuple[str, str]]:
    """Roles and texts of a prompt."""
    prompt = client.submitted[number][0]
    assert isinstance(prompt, ChatPrompt)
    return [
        (m.role, "".join(c.text if isinstance(c, Text) else f"<{c.index}>" for c in m.content))
        for m in prompt.messages
    ]


async def test_a_conversation_goes_on_by_its_last_response(config: Any) -> None:
    client = FakeClient()
    async with served(client, config) as url, connect(url) as api:
        first = await api.responses.create(model="fake-model", input=LOOK, instructions="Be brief.")
        second = await api.responses.create(
            model="fake-model", input="Sure?", previous_response_id=first.id, instructions="Lie."
        )
        async with api.responses.stream(
            model="fake-model", input="Really?", previous_response_id=second.id
        ) as stream:
            third = await stream.get_final_response()
        fourth = await api.responses.create(
            model="fake-model", input="Go on.", previous_response_id=third.id
        )
    assert fourth.previous_response_id == third.id
    turn = ("assistant", "a red circle é!")
    assert said(client) == [
        ("user", "<0>What is it?"), turn, ("user", "Sure?"), turn, ("user", "Really?"), turn,
        ("user", "Go on."),
    ]  # fmt: skip
    assert said(client, 1)[0] == ("system", "Lie.")
    (picture,) = client.submitted[-1][1]
    assert isinstance(picture.source, Encoded)
    assert client.blobs[picture.source.blob.offset] == b"hello"


async def test_it_goes_on_at_another_server_with_the_same_folder(config: Any) -> None:
    async with served(FakeClient(), config) as url, connect(url) as api:
        first = await api.responses.create(model="fake-model", input="One.")
    client = FakeClient()
    async with served(client, config) as url, connect(url) as api:
        await api.responses.create(model="fake-model", input="Two.", previous_response_id=first.id)
        again = await api.responses.retrieve(first.id)
    assert said(client)[0] == ("user", "One.")
    assert again == first


async def test_what_is_kept_can_be_read_listed_and_removed(config: Any) -> None:
    async with served(FakeClient(), config) as url, connect(url) as api:
        items = [*LOOK, {"role": "assistant", "content": "A circle."}]
        made = await api.responses.create(model="fake-model", input=items)
        assert await api.responses.retrieve(made.id) == made
        found = [item async for item in api.responses.input_items.list(made.id, limit=1)]
        assert [item.role for item in found] == ["assistant", "user"]  # type: ignore[union-attr]
        (newest,) = (await api.responses.input_items.list(made.id, limit=1)).data
        assert newest.content[0].text == "A circle."  # type: ignore[union-attr, index]
        with pytest.raises(openai.BadRequestError, match="background"):
            await api.responses.cancel(made.id)
        with pytest.raises(openai.BadRequestError, match="not streamed again"):
            await api.responses.retrieve(made.id, stream=True)
        await api.responses.delete(made.id)
        for ask in (api.responses.retrieve, api.responses.delete, api.responses.cancel):
            with pytest.raises(openai.NotFoundError):
                await ask(made.id)
        with pytest.raises(openai.NotFoundError) as raised:
            await api.responses.create(model="fake-model", input="?", previous_response_id=made.id)
        assert (raised.value.param, raised.value.code) == (
            "previous_response_id",
            "previous_response_not_found",
        )


async def test_anothers_response_is_not_there(config: Any) -> None:
    async with served(FakeClient(), config) as url, connect(url) as alice:
        made = await alice.responses.create(model="fake-model", input="secret")
        item = made.output[0].id
        async with connect(url, "bob") as bob:
            for ask in (bob.responses.retrieve, bob.responses.delete, bob.responses.cancel):
                with pytest.raises(openai.NotFoundError):
                    await ask(made.id)
            with pytest.raises(openai.NotFoundError):
                await bob.responses.input_items.list(made.id)
            for more in (
                {"previous_response_id": made.id, "input": "?"},
                {"input": [{"type": "item_reference", "id": item}]},
            ):
                with pytest.raises(openai.NotFoundError):
                    await bob.responses.create(model="fake-model", **more)
        assert (await alice.responses.retrieve(made.id)).id == made.id


async def test_items_are_named_by_their_ids(config: Any) -> None:
    client = FakeClient()
    async with served(client, config) as url, connect(url) as api:
        made = await api.responses.create(model="fake-model", input=LOOK)
        (given,) = (await api.responses.input_items.list(made.id)).data
        items: Any = [
            {"type": "item_reference", "id": given.id},
            {"id": made.output[0].id},
            {"role": "user", "content": "Sure?"},
        ]
        await api.responses.create(model="fake-model", input=items)
        for wrong in ("msg_1", given.id[:-1] + "7", "msg_" + "0" * 38 + "o0"):
            items[0]["id"] = wrong
            with pytest.raises(openai.NotFoundError):
                await api.responses.create(model="fake-model", input=items)
    assert said(client) == [
        ("user", "<0>What is it?"), ("assistant", "a red circle é!"), ("user", "Sure?"),
    ]  # fmt: skip


async def test_items_that_are_named_again_and_again_have_a_bound(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(FakeClient(), config) as url, connect(url) as api:
        made = await api.responses.create(model="fake-model", input="a" * 5_000)
        (given,) = (await api.responses.input_items.list(made.id)).data
        monkeypatch.setattr(history, "MOST_BEFORE", 20_000)
        named: Any = [{"type": "item_reference", "id": given.id}]
        await api.responses.create(model="fake-model", input=named * 2)
        with pytest.raises(openai.APIStatusError) as refused:
            await api.responses.create(model="fake-model", input=named * 4)
    assert refused.value.status_code == 413


async def test_nothing_is_kept_unless_it_may_be(config: Any, tmp_path: Path) -> None:
    async with served(FakeClient(), config) as url, connect(url) as api:
        made = await api.responses.create(model="fake-model", input="hi", store=False)
        assert made.model_dump()["store"] is False
        with pytest.raises(openai.NotFoundError):
            await api.responses.retrieve(made.id)
    assert not (tmp_path / "data").exists()
    async with served(FakeClient(), http_config(max_stored_gb=0)) as url:
        status, told, headers = await post(
            url, "/v1/responses", {"input": "hi", "store": True, "frob": 1}
        )
        assert (status, told["store"]) == (200, False)
        assert headers["X-Thespis-Ignored-Fields"] == "frob, store"
        body = {"input": "hi", "previous_response_id": told["id"]}
        status, told, _ = await post(url, "/v1/responses", body)
        assert (status, told["error"]["code"]) == (400, "storage_off")
        assert told["error"]["param"] == "previous_response_id"


async def test_large_histories_are_read_beside_the_server(config: Any) -> None:
    big = "data:image/png;base64," + "aGVs" * (1 << 19)
    items: Any = [{"role": "user", "content": [{"type": "input_image", "image_url": big}]}]
    client = FakeClient()
    async with served(client, config) as url, connect(url) as api:
        first = await api.responses.create(model="fake-model", input=items)
        await api.responses.create(model="fake-model", input=items, previous_response_id=first.id)
    ours, theirs = client.submitted[-1][1]
    assert isinstance(ours.source, Encoded)
    assert isinstance(theirs.source, Encoded)
    assert ours.source.blob.segment != theirs.source.blob.segment


async def test_input_is_counted(config: Any) -> None:
    async with served(FakeClient(), config) as url, connect(url) as api:
        counted = await api.responses.input_tokens.count(model="fake-model", input="hi")
    assert (counted.input_tokens, counted.object) == (3, "response.input_tokens")


async def test_the_oldest_give_way(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "data"), 1 << 20)
    responses = KeptResponses(storage)
    ids = []
    for _ in range(12):
        ids.append(storage.responses.draw()[0])
        responses.keep(
            "", ids[-1], KeptResponse(b'{"output":[]}', b"[" + b" " * (1 << 17) + b"]", None)
        )
        await responses.close()
    found = []
    for id in ids:
        try:
            await responses.find("", id)
            found.append(id)
        except RequestError:
            pass
    assert found == ids[-len(found) :]
    assert len(found) == 7, "as many went as the new ones have bytes"
    await storage.close()


async def test_what_waits_for_the_disk_is_found_and_can_be_removed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "data"), 1 << 30)
    responses, id = KeptResponses(storage), storage.responses.draw()[0]
    one = KeptResponse(b'{"output":[1]}', b"[2,3]", None)
    responses.keep("", id, one)
    assert await responses.find("", id) == one
    other = storage.responses.draw()[0]
    responses.keep("", other, KeptResponse(b'{"output":[4]}', b"[]", id))
    assert await responses.before("", other) == [b"[2,3]", b"[1]", b"[]", b"[4]"]
    await responses.close()
    assert await responses.find("", id) == one
    assert await responses.before("", other) == [b"[2,3]", b"[1]", b"[]", b"[4]"]
    responses.keep("", id, one)
    await responses.remove("", id)
    with pytest.raises(RequestError):
        await responses.before("", other)
    await storage.close()


async def test_a_conversation_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_TURNS", 3)
    storage = Storage(str(tmp_path / "data"), 1 << 30)
    responses, previous = KeptResponses(storage), None
    for _ in range(4):
        id = storage.responses.draw()[0]
        responses.keep("", id, KeptResponse(b'{"output":[]}', b"[]", previous))
        previous = id
    assert previous is not None
    with pytest.raises(RequestError) as raised:
        await responses.before("", previous)
    assert raised.value.failure.code == "context_length_exceeded"
    await asyncio.gather(responses.close(), storage.close())


def test_ids_tell_where_an_item_is() -> None:
    token = "0" * 38
    assert place_of(f"msg_{token}o3") == Place(f"resp_{token}", "o", 3)
    assert place_of(f"fc_{token}i0") == Place(f"resp_{token}", "i", 0)
    for wrong in (
        "",
        "msg_1",
        f"msg_{token}x0",
        f"msg_{token}o",
        f"../{token}o0",
        f"msg_{token}o0\n",
    ):
        assert place_of(wrong) is None


def test_a_listed_item_has_what_its_caller_left_out() -> None:
    token = "0" * 38
    first: Any = {"role": "user", "content": "hi", "name": None}
    second = {"type": "function_call", "id": "fc_7", "status": None}
    array = msgspec.json.encode([first, second, {**first, "id": 7}])
    ids = ids_of(msgspec.json.decode(array, type=list[ListedItem]), f"resp_{token}")
    assert ids == [f"msg_{token}i0", "fc_7", f"msg_{token}i2"]
    items = msgspec.json.decode(array, type=list[msgspec.Raw])
    item, own, _ = msgspec.json.decode(msgspec.json.encode(list(map(listed, items, ids))))
    assert item == {
        "id": f"msg_{token}i0", "type": "message", "role": "user", "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}],
    }  # fmt: skip
    assert (own["id"], own["status"]) == ("fc_7", "completed")


async def test_two_writers_make_room_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loser of a race for the oldest goes on with the next."""
    storage = Storage(str(tmp_path / "data"), 1 << 20)
    responses, store = KeptResponses(storage), storage.responses
    one = KeptResponse(b'{"output":[]}', b"[" + b" " * (1 << 18) + b"]", None)
    for _ in range(3):
        responses.keep("", store.draw()[0], one)
        await responses.close()
    remove = store.remove

    def late(tenant: str, id: str) -> None:
        monkeypatch.setattr(store, "remove", remove)
        remove(tenant, id)
        remove(tenant, id)

    monkeypatch.setattr(store, "remove", late)
    id = store.draw()[0]
    responses.keep("", id, one)
    await responses.close()
    assert (await responses.find("", id)).items == one.items
    await storage.close()


async def test_what_is_not_kept_is_not_said_to_be(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(FakeClient(), config) as url, connect(url) as api:
        for most, stored in ((500, False), (5_000, True)):
            monkeypatch.setattr(kept, "MOST_BYTES", most)
            made = await api.responses.create(model="fake-model", input="hi")
            assert made.model_dump()["store"] is stored


async def test_what_waits_has_a_bound_however_many_are_kept_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_WAITING", 2_500)
    storage = Storage(str(tmp_path / "data"), 1 << 30)
    responses = KeptResponses(storage)
    one = KeptResponse(b'{"output":[]}', bytes(1_000), None)
    assert [responses.keep("", storage.responses.draw()[0], one) for _ in range(4)] == [
        True, True, False, False
    ]  # fmt: skip
    await responses.close()
    assert responses.keep("", storage.responses.draw()[0], one)
    await responses.close()
    await storage.close()


async def test_what_is_read_for_a_conversation_has_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_BEFORE", 2_500)
    storage = Storage(str(tmp_path / "data"), 1 << 30)
    responses, previous = KeptResponses(storage), None
    long = b'{"instructions":"%b","output":[]}' % (b"x" * 1_000)
    ids = []
    for _ in range(3):
        ids.append(storage.responses.draw()[0])
        responses.keep("", ids[-1], KeptResponse(long, b"[]", previous))
        previous = ids[-1]
    assert len(await responses.before("", ids[1])) == 4
    with pytest.raises(RequestError) as raised:
        await responses.before("", ids[2])
    assert raised.value.failure.code == "context_length_exceeded"
    await asyncio.gather(responses.close(), storage.close())
