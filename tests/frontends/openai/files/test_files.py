"""/v1/files by the official client, and by callers who mean harm."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import openai
import pytest
from yarl import URL

from thespis.frontends.openai.stored.files import plain_name

from ..fake import FakeClient, http_config, served

TWO = ("sesame", "poppy")


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    config = http_config(data_folder=str(tmp_path / "data"), max_stored_gb=0.01, api_key=TWO)
    async with served(FakeClient(), config) as url:
        yield url


def connect(url: str, key: str = "sesame") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def stored(folder: Path) -> list[Path]:
    return [path for path in (folder / "data").rglob("*") if path.is_file()]


async def test_the_official_client_uploads_lists_reads_and_deletes(url: str) -> None:
    async with connect(url) as api:
        made = await api.files.create(file=("a b.png", b"picture" * 1000), purpose="vision")
        assert (made.object, made.bytes, made.filename, made.purpose, made.status) == (
            "file", 7000, "a b.png", "vision", "processed",
        )  # fmt: skip
        assert made.expires_at is None
        brief = await api.files.create(
            file=Path(__file__),
            purpose="user_data",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        assert brief.expires_at == brief.created_at + 3600
        batch = await api.files.create(file=b"{}", purpose="batch")
        assert batch.expires_at == batch.created_at + 30 * 86400
        assert batch.filename == "upload"
        assert await api.files.retrieve(made.id) == made
        assert (await api.files.content(made.id)).content == b"picture" * 1000
        assert [file.id async for file in api.files.list()] == [batch.id, brief.id, made.id]
        assert [file.id async for file in api.files.list(limit=1, order="asc")] == [
            made.id, brief.id, batch.id,
        ]  # fmt: skip
        assert [file.id async for file in api.files.list(purpose="vision")] == [made.id]
        page = await api.files.list(limit=2, after=batch.id)
        assert ([file.id for file in page.data], page.has_more) == ([brief.id, made.id], False)
        gone = await api.files.delete(made.id)
        assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
        for ask in (api.files.retrieve, api.files.content, api.files.delete):
            with pytest.raises(openai.NotFoundError):
                await ask(made.id)


async def test_the_sync_client_does_too(url: str) -> None:
    def work() -> None:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="sesame", max_retries=0) as api:
            made = api.files.create(file=("x.wav", b"RIFF"), purpose="user_data")
            assert [file.id for file in api.files.list()] == [made.id]
            assert api.files.retrieve(made.id).filename == "x.wav"
            with api.files.with_streaming_response.content(made.id) as response:
                assert b"".join(response.iter_bytes(2)) == b"RIFF"
            assert api.files.delete(made.id).deleted

    await asyncio.to_thread(work)


async def test_files_of_another_tenant_are_not_there(url: str) -> None:
    async with connect(url) as mine, connect(url, "poppy") as other:
        made = await mine.files.create(file=b"secret", purpose="user_data")
        for ask in (other.files.retrieve, other.files.content, other.files.delete):
            with pytest.raises(openai.NotFoundError) as error:
                await ask(made.id)
            assert error.value.code == "not_found"
        assert [file.id async for file in other.files.list()] == []
        assert (await mine.files.content(made.id)).content == b"secret"


async def test_what_is_read_back_is_no_page_of_this_server(url: str) -> None:
    async with connect(url) as api:
        made = await api.files.create(
            file=('évil".html', b"<script>", "text/html"), purpose="user_data"
        )
    key = {"Authorization": "Bearer sesame"}
    async with (
        aiohttp.ClientSession(headers=key) as session,
        session.get(f"{url}/v1/files/{made.id}/content") as response,
    ):
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        kind, _, name = response.headers["Content-Disposition"].partition("; filename*=UTF-8''")
        assert (kind, unquote(name)) == ("attachment", "évil%22.html")


NAMES = [
    "../../etc/passwd", "..", ".", "", "/", "\\", "C:\\evil\\x.png", "a/b/c.png", "x\0y.png",
    "x\ny.png", "x\r\nSet-Cookie: a=b", "\u202egnp.exe", "x" * 5000, "\ud7ff", "é" * 300, "'; drop",
    "<script>alert(1)</script>.png", "a;filename=b", 'a"b', "a\\", "%2e%2e%2f", "~root", "-rf",
    "con", "nul.png", ".htaccess", "a\u2028b", "\ufeffx", "x" * 255, "🎭.png", " ", "\t", "x ",
    "..\\..", "//", "a/", "....//", "file:///etc/passwd", "http://x/", "$(id)", "`id`", "a\x7fb",
    "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_claimed_name_is_only_ever_said_back(name: str) -> None:
    plain = plain_name(name)
    assert 1 <= len(plain) <= 255
    assert plain.isprintable()
    assert not set(plain) & set("/\\\0\r\n\u202e")
    assert plain not in (".", "..")
    assert plain_name(plain) == plain


def disposition(name: str, filename: str | None = None) -> str:
    told = "" if filename is None else f'; filename="{filename}"'
    return f'Content-Disposition: form-data; name="{name}"{told}'


def form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    written = (b"--b\r\n%b\r\n\r\n%b\r\n" % (head.encode(), data) for head, data in parts)
    return b"".join(written) + end


FILE = (disposition("file", "x.png"), b"data")
PURPOSE = (disposition("purpose"), b"vision")
TYPE = "multipart/form-data; boundary=b"
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


def file(data: bytes, *headers: str) -> tuple[str, bytes]:
    return "\r\n".join((disposition("file", "x.png"), *headers)), data


def field(name: str, value: str | bytes) -> tuple[str, bytes]:
    return disposition(name), value if isinstance(value, bytes) else value.encode()


def hostile() -> dict[str, tuple[str, bytes, int]]:
    """By name: the type, the body, and the right status."""
    found: dict[str, tuple[str, bytes, int]] = {}
    for number, name in enumerate(NAMES):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        parts = (PURPOSE, (disposition("file", quoted), b"data"))
        found[f"name {number}"] = (TYPE, form(*parts), 400 if "\r\n" in name else 200)
    for number, purpose in enumerate(
        ["", "x", "fine-tune", "evals", "Vision", "vision ", "vision\0", "batch_output", "../x",
         "assistants_output", "*", "[]", "null", "x" * 4096, "x" * 5000]
    ):  # fmt: skip
        found[f"purpose {number}"] = (TYPE, form(FILE, field("purpose", purpose)), 400)
    found["purpose no utf-8"] = (TYPE, form(FILE, field("purpose", b"\xff\xfe")), 400)
    for number, seconds in enumerate(
        ["", "0", "-1", "59", "1e3", "3600.0", " 3600", "٣٦٠٠", "9" * 4000, "2592001", "nan",
         "0x10", "3600\n", "+3600", "3_600", "inf", "null", "true"]
    ):  # fmt: skip
        dated = (PURPOSE, FILE, field(ANCHOR, "created_at"))
        more = field(SECONDS, seconds)
        found[f"seconds {number}"] = (TYPE, form(*dated, more), 400)
    for number, anchor in enumerate(["", "last_active_at", "now", "created_at ", "x" * 100]):
        dated = (PURPOSE, FILE, field(ANCHOR, anchor))
        more = field(SECONDS, "3600")
        found[f"anchor {number}"] = (TYPE, form(*dated, more), 400)
    for number, warm in enumerate(["", "yes", "2", "[]", "tru", "x" * 200]):
        found[f"warm {number}"] = (TYPE, form(PURPOSE, FILE, field("warm", warm)), 400)
        found[f"pin {number}"] = (TYPE, form(PURPOSE, FILE, field("pin", warm)), 400)
    many = [field(f"f{number}", "x") for number in range(100)]
    forms: dict[str, tuple[bytes, int]] = {
        "no purpose": (form(FILE), 400),
        "no file": (form(PURPOSE), 400),
        "an empty file": (form(PURPOSE, file(b"")), 400),
        "two files": (form(PURPOSE, FILE, FILE), 400),
        "a file under another name": (form(PURPOSE, (disposition("image", "x"), b"x")), 400),
        "two purposes": (form(PURPOSE, PURPOSE, FILE), 400),
        "only an anchor": (form(PURPOSE, FILE, field(ANCHOR, "created_at")), 400),
        "only seconds": (form(PURPOSE, FILE, field(SECONDS, "3600")), 400),
        "a field of a megabyte": (form(PURPOSE, FILE, field("x", "x" * (1 << 20))), 400),
        "a hundred fields": (form(PURPOSE, FILE, *many), 400),
        "unknown fields": (form(PURPOSE, FILE, field("metadata", "x")), 200),
        "another order": (form(FILE, PURPOSE), 200),
        "no filename": (form(PURPOSE, field("file", "data")), 200),
        "a false type": (form(PURPOSE, file(b"x", "Content-Type: text/html")), 200),
        "a wild type": (form(PURPOSE, file(b"x", "Content-Type: " + "x" * 3000)), 200),
        "nested": (
            form(PURPOSE, file(b"--b2--", "Content-Type: multipart/mixed; boundary=b2")),
            200,
        ),
        "base64": (form(PURPOSE, file(b"eA==", "Content-Transfer-Encoding: base64")), 400),
        "gzip": (form(PURPOSE, file(b"x", "Content-Encoding: gzip")), 400),
        "no end": (form(PURPOSE, FILE, end=b""), 400),
        "no body": (b"", 400),
        "json in a form": (b'{"file": "x", "purpose": "vision"}', 400),
        "too large": (form(PURPOSE, file(bytes(11 << 20))), 413),
        "more than a key may": (form(PURPOSE, file(bytes(6 << 20))), 413),
    }
    found |= {name: (TYPE, body, status) for name, (body, status) in forms.items()}
    for number, kind in enumerate(
        ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="',
         f"multipart/form-data; boundary={'x' * 100}", "multipart/form-data; boundary=c",
         "multipart/form-data; boundary=b; boundary=b", "multipart/form-data; boundary==b",
         'multipart/form-data; boundary="b\\"', "multipart/form-data; Boundary"]
    ):  # fmt: skip
        found[f"boundary {number}"] = (kind, form(PURPOSE, FILE), 400)
    for number, kind in enumerate(
        ["application/json", "text/plain", "multipart/mixed; boundary=b", "",
         "application/octet-stream", "application/x-www-form-urlencoded",
         "multipart/form-datas; boundary=b", "multipart/*", "image/png"]
    ):  # fmt: skip
        found[f"type {number}"] = (kind, form(PURPOSE, FILE), 415)
    return found


HOSTILE = hostile()
ZEROS = "0" * 38
IDS = [
    "file-", "file-x", f"file-{ZEROS[1:]}", f"file-{ZEROS}", f"FILE-{ZEROS}", f"resp_{ZEROS}",
    "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "file-%00", "*", f"file-{ZEROS[1:]}%2f", "x" * 3000,
    "file-" + "%D9%A0" * 38, "%ff", "file-" + "G" * 38, "-", "~", "%20", f"file-{ZEROS}%0a",
]  # fmt: skip
QUERIES = [
    "limit=0", "limit=-1", "limit=10001", "limit=x", "limit=1e3", "limit=", "limit=" + "9" * 3000,
    "limit=%D9%A3", "order=up", "order=", "order=ASC",
]  # fmt: skip
UNKNOWN_AFTER = ["after=x", "after=../..", "after=%00", "after=file-x", "after=resp_" + "0" * 38]


async def test_two_hundred_hostile_calls_have_their_status_and_leave_nothing(
    url: str, tmp_path: Path
) -> None:
    assert len(HOSTILE) + len(NAMES) + 3 * len(IDS) + len(QUERIES) + len(UNKNOWN_AFTER) >= 200
    wrong: dict[str, Any] = {}
    key = {"Authorization": "Bearer sesame"}
    async with aiohttp.ClientSession(headers=key, skip_auto_headers=["Content-Type"]) as session:

        async def expect(name: str, status: int, method: str, path: str, **more: Any) -> Any:
            request = session.request(method, f"{url}/v1/files{path}", **more)
            async with request as response:
                body = await response.read()
                if response.status != status:
                    wrong[name] = (response.status, status, body[:200])
                elif status != 200:
                    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
                return json.loads(body)

        for name, (kind, body, status) in HOSTILE.items():
            headers = {"Content-Type": kind} if kind else {}
            told = await expect(name, status, "POST", "", data=BytesIO(body), headers=headers)
            if status == 200:
                await expect(f"{name} again", 200, "DELETE", f"/{told['id']}")
        for id in IDS:
            for method, rest in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
                target = URL(f"{url}/v1/files/{id}{rest}", encoded=True)
                async with session.request(method, target) as response:
                    if response.status != 404:
                        wrong[f"{method} {id}{rest}"] = response.status
        for query in QUERIES:
            await expect(query, 400, "GET", f"?{query}")
        for query in UNKNOWN_AFTER:
            await expect(query, 404, "GET", f"?{query}")
    assert not wrong, wrong
    assert stored(tmp_path) == []


async def test_an_upload_that_breaks_off_leaves_nothing(url: str, tmp_path: Path) -> None:
    async def forever() -> AsyncIterator[bytes]:
        yield form(PURPOSE, end=b"") + b"--b\r\n" + FILE[0].encode() + b"\r\n\r\n"
        while True:
            yield bytes(1 << 16)
            await asyncio.sleep(0.01)

    key = {"Authorization": "Bearer sesame", "Content-Type": TYPE}
    async with aiohttp.ClientSession(headers=key) as session:
        task = asyncio.create_task(session.post(f"{url}/v1/files", data=forever()).__aenter__())
        async with asyncio.timeout(10):
            while not stored(tmp_path):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            while stored(tmp_path):
                await asyncio.sleep(0.01)


async def test_a_server_that_stores_nothing_says_so(tmp_path: Path) -> None:
    config = http_config(data_folder=str(tmp_path / "data"), max_stored_gb=0)
    async with served(FakeClient(), config) as url, connect(url) as api:
        with pytest.raises(openai.BadRequestError) as error:
            await api.files.create(file=b"x", purpose="vision")
        assert error.value.code == "storage_off"
        with pytest.raises(openai.BadRequestError):
            await api.files.list()
    assert not (tmp_path / "data").exists()
