"""The files of the playground over HTTP: open, small, and harmless to whoever opens them."""

import gzip
import re
from pathlib import Path

import aiohttp
import msgspec
import pytest

from thespis.frontends.openai.pages import FOLDER, TYPES
from thespis.protocol.checkpoint.folder import demo_model

from .fake import MODEL, FakeClient, http_config, post, served

CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "hi"}]}
SCRIPTS = [file for file in sorted(FOLDER.rglob("*.js")) if "vendor" not in file.parts]


async def get(url: str, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """The bytes as they came, packed or not."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url + path, headers={"Accept-Encoding": "identity", **named}) as response,
    ):
        told = {name.lower(): value for name, value in response.headers.items()}
        return response.status, await response.read(), told


async def test_every_file_is_open_safe_and_sent_once() -> None:
    async with served(FakeClient(), http_config(api_key=("k",))) as url:
        files = [f"/{file.relative_to(FOLDER).as_posix()}" for file in FOLDER.rglob("*.*")]
        paths = [path.replace("/live/", "/live-view/") for path in files]
        for path in ["/", "/live-view", *paths]:
            if Path(path).suffix not in {"", *TYPES} or path.endswith("/index.html"):
                continue
            status, body, headers = await get(url, path)
            assert (status, headers["x-content-type-options"]) == (200, "nosniff"), path
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-cache"
            packed = await get(url, path, Accept_Encoding="br, gzip")
            if packed[2].get("content-encoding") == "gzip":
                assert gzip.decompress(packed[1]) == body
                assert len(packed[1]) < len(body)
            again = await get(url, path, If_None_Match=headers["etag"])
            assert (again[0], again[1]) == (304, b"")
            assert again[2]["content-security-policy"] == policy
            assert (await get(url, path, If_None_Match='"other"'))[0] == 200


async def test_a_key_lets_into_what_is_told_of_the_server() -> None:
    async with served(FakeClient(), http_config(api_key=("k",))) as url:
        assert (await get(url, "/playground/door"))[:2] == (200, b'{"keyed":true}')
        assert (await get(url, "/playground/about"))[0] == 401
        status, body, _ = await get(url, "/playground/about", Authorization="Bearer k")
        told = msgspec.json.decode(body)
        assert (status, told["model"], told["bundled"]) == (200, "fake-model", True)
        assert told["live_view"] is True
        assert told["takes"] == ["document"], "of which this model is given the text"
        assert told["defaults"]["temperature"] == 1.0
        assert str(demo_model()).encode() not in body


async def test_the_examples_are_those_of_the_bundled_model() -> None:
    async with served(FakeClient()) as url:
        status, body, headers = await get(url, "/playground/examples/picture.png")
        assert (status, headers["content-type"]) == (200, "image/png")
        assert body == (demo_model() / "media" / "picture.png").read_bytes()
    other = msgspec.structs.replace(MODEL, path="/somewhere/else")
    async with served(FakeClient(), http_config(other)) as url:
        assert (await get(url, "/playground/examples/picture.png"))[0] == 404
        assert msgspec.json.decode((await get(url, "/playground/about"))[1])["bundled"] is False


@pytest.mark.parametrize(
    "path",
    [
        "/playground/",
        "/playground/vendor/marked/LICENSE",
        "/playground/../pages.py",
        "/playground/x.js",
    ],
)
async def test_nothing_else_is_sent(path: str) -> None:
    async with served(FakeClient()) as url:
        assert (await get(url, path))[0] == 404


async def test_without_the_playground_there_is_nothing() -> None:
    async with served(FakeClient(), http_config(playground=False)) as url:
        for path in ("/", "/playground/app.js", "/playground/door", "/playground/about"):
            assert (await get(url, path))[0] == 404
        status, refused, _ = await post(url, CHAT, BODY, headers={"Origin": url})
        assert (status, refused["error"]["code"]) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("name", "key", "allowed", "status"),
    [
        ("127.0.0.1:8000", None, (), 200),
        ("localhost:8000", None, (), 200),
        ("evil.example", "k", (), 200),  # it has no key of ours, and who typed one there was fooled
        ("mine.example", None, ("mine.example",), 200),
        ("mine.example", None, ("other.example",), 403),
    ],
)
async def test_the_page_of_this_server_may_call_it(
    name: str, key: str | None, allowed: tuple[str, ...], status: int
) -> None:
    config = http_config(api_key=(key,) if key else (), allowed_hosts=allowed)
    headers = {"Host": name, "Origin": f"http://{name}"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    async with served(FakeClient(), config) as url:
        assert (await post(url, CHAT, BODY, headers=headers))[0] == status


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_no_script_makes_html_or_code_of_a_text(file: Path) -> None:
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc"
    assert re.findall(banned, file.read_text()) == []


def test_no_file_of_the_pages_is_a_house() -> None:
    files = [file for file in FOLDER.rglob("*.*") if "vendor" not in file.parts]
    assert {file.name for file in files if file.read_text().count("\n") > 400} == set()


def test_the_library_has_its_licence_beside_it() -> None:
    for folder in (FOLDER / "playground" / "vendor").iterdir():
        assert "Permission is hereby granted" in (folder / "LICENSE").read_text()
