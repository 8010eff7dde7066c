"""What is refused by its head: framings, codings, types, keys, origins, hosts. By hand, as no
client would send it."""

import gzip

import aiohttp
import httpx
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from thespis.frontends.openai.gate.auth import Keys
from thespis.frontends.openai.gate.head import body_fault

from ..fake import FakeClient, http_config, served
from ..raw import ask, chat, exchange, read

JSON = "Content-Type: application/json"
BODIES = ("/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize")


def sized(head: str, body: bytes) -> str:
    return f"{head}\nContent-Length: {len(body)}"


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "coding",
    [
        "gzip",
        "GZIP",
        "deflate",
        "br",
        "zstd",
        "x-gzip",
        "compress",
        "gzip, identity",
        "identity,gzip",
        "unknown",
        "ｇzip",
    ],
)
async def test_a_compressed_body_is_refused_before_it_is_read(path: str, coding: str) -> None:
    """It is announced and never sent: whoever waits for it waits for ever."""
    head = f"{JSON}\nContent-Encoding: {coding.encode().decode('latin-1')}\nContent-Length: 1000"
    async with served(FakeClient()) as url:
        answer = await ask(url, head, path=path)
    assert (answer.status, answer.code, answer.headers["accept-encoding"]) == (
        415,
        "unsupported_encoding",
        "identity",
    )


async def test_two_codings_in_two_lines_are_two_codings() -> None:
    async with served(FakeClient()) as url:
        answer = await ask(
            url, f"{JSON}\nContent-Encoding: identity\nContent-Encoding: gzip\nContent-Length: 9"
        )
    assert answer.code == "unsupported_encoding"


@pytest.mark.parametrize(
    "coding", ["", "identity", "Identity", "identity, identity", " identity ,"]
)
async def test_identity_is_no_coding(coding: str) -> None:
    async with served(FakeClient()) as url:
        assert (
            await ask(url, sized(f"{JSON}\nContent-Encoding: {coding}", chat()), chat())
        ).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/nothing", "/live", "/v1/chat/completions"])
async def test_nothing_is_ever_inflated_not_even_what_is_thrown_away(path: str) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    async with served(FakeClient(), http_config(api_key=("k",))) as url:
        answer = await ask(
            url, sized("Content-Encoding: gzip", bomb), bomb, method="GET", path=path
        )
    assert answer.status in (200, 401)


@pytest.mark.parametrize("coding", ["gzip", "br", "*", "identity;q=0"])
async def test_what_the_caller_takes_changes_nothing(coding: str) -> None:
    async with served(FakeClient()) as url:
        assert (
            await ask(url, sized(f"{JSON}\nAccept-Encoding: {coding}", chat()), chat())
        ).status == 200


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "kind",
    [
        None, "", "text/plain", "text/json", "application/x-www-form-urlencoded",
        "multipart/form-data; "
        "boundary=x", "*/*",
        "text/plain;application/json", "text/plain; x=application/json", "application/json, "
        "text/plain", "application/jsonx",
        "application/vnd.api+json", "application/json/x", "json", "ａpplication/json",
        "application/octet-stream",
    ],
)  # fmt: skip
async def test_only_json_is_taken_for_a_body(path: str, kind: str | None) -> None:
    head = "X: y" if kind is None else f"Content-Type: {kind.encode().decode('latin-1')}"
    async with served(FakeClient()) as url:
        answer = await ask(url, f"{head}\nContent-Length: 1000", path=path)
    assert (answer.status, answer.code, answer.headers["accept-post"]) == (
        415,
        "unsupported_media_type",
        "application/json",
    )
    assert b"Content-Type: application/json" in answer.body


@pytest.mark.parametrize(
    "kind",
    [
        "application/json", "Application/JSON", "application/json; "
        "charset=utf-8", "application/json;charset=UTF-8",
        'application/json ; charset="utf-8"', "application/json; "
        "charset=iso-8859-1", "application/json;",
        "\tapplication/json ",
    ],
)  # fmt: skip
async def test_json_is_json_whatever_its_parameters(kind: str) -> None:
    async with served(FakeClient()) as url:
        assert (await ask(url, sized(f"Content-Type: {kind}", chat()), chat())).status == 200


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40))
def test_no_type_that_a_web_page_can_send_unasked_is_taken(text: str) -> None:
    """The Fetch standard: a page may send these three, with any parameters, without asking."""
    for safe in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
        for given_type in (safe, f"{safe};{text}", f" {safe} ; {text}"):
            assert body_fault(CIMultiDict({"Content-Type": given_type})) is not None


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: identity, chunked", 501),
        ("Transfer-Encoding: chunked, chunked", (400, 501)),
        ("Transfer-Encoding: gzip\nTransfer-Encoding: chunked", (400, 501)),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked;q=1", (400, 501)),
        ("Transfer-Encoding: \"chunked\"", (400, 501)),
        ("Transfer-Encoding : chunked", 400),
        ("Transfer-Encoding: chunked\nContent-Length: 5", 400),
        ("Content-Length: 5\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding:\n chunked", 400),
        ("Content-Length: 5\nContent-Length: 6", 400),
        ("Content-Length: 5\nContent-Length: 5", 400),
        ("Content-Length: 5, 5", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5 5", 400),
        ("Content-Length: 99999999999999999999999", 400),
        ("Host: other\nContent-Length: 5", 400),
        ("X-Folded: a\n b\nContent-Length: 5", 400),
        ("X\x00Y: a", 400),
        ("X: a\x00b", 400),
        ("X Y: a", 400),
        (": a", 400),
        ("X-Long: " + "x" * 20_000, 400),
        ("\n".join(f"X-{number}: y" for number in range(500)), 400),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/live"])
async def test_a_head_that_two_readers_may_read_differently_ends_the_connection(
    head: str, status: int | tuple[int, ...], path: str
) -> None:
    """The second request must never be heard: to somebody in between it may have been a body."""
    after = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(FakeClient()) as url:
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", JSON, *head.split("\n")]
        received = await exchange(
            url, "\r\n".join([*lines, "", ""]).encode("latin-1") + b"0\r\n\r\n" + after
        )
    assert received.count(b"HTTP/1.") == 1
    answer = read(received)
    assert answer.status in (status if isinstance(status, tuple) else (status,))
    assert answer.code in ("invalid_http", "unsupported_transfer_coding")


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/chat/completions HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
        b"GET /live HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"GET /live HTTP/1.1\rHost: x\r\n\r\n",
        b"GET /live HTTP/1.1\r\nX: y\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET /live HTTP/9.9\r\nHost: x\r\n\r\n",
        b"G\x00T /live HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /tokenize HTTP/1.0\r\nContent-Type: application/json\r\nTransfer-Encoding: "
        b"chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_lines_and_versions_that_are_not_http_1_1(sent: bytes) -> None:
    async with served(FakeClient()) as url:
        answer = read(await exchange(url, sent))
    assert (answer.status, answer.code) == (400, "invalid_http")


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n", b"-1\r\nx\r\n", b"0x5\r\nhello\r\n", b"5 \r\nhello\r\n", b"5\nhello\n0\n\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nx", b"5\r\nhello0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
    ],
)  # fmt: skip
async def test_chunks_that_are_none_are_refused_and_end_the_connection(chunks: bytes) -> None:
    head = (
        f"POST /tokenize HTTP/1.1\r\nHost: x\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    after = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(FakeClient()) as url:
        received = await exchange(url, head + chunks + after)
    assert read(received).status == 400
    assert b"alive" not in received


async def test_chunk_extensions_and_trailers_are_read_over() -> None:
    body = b'5;name="value"\r\n{"pro\r\nc;x\r\nmpt": "hi"  \r\n1\r\n}\r\n0\r\nX-Trailer: y\r\n\r\n'
    async with served(FakeClient()) as url:
        answer = await ask(url, f"{JSON}\nTransfer-Encoding: chunked", body, path="/tokenize")
    assert answer.status == 200


@pytest.mark.parametrize(
    "lines",
    [
        [], ["Authorization: Bearer \xff"], ["Authorization: "
        "Bearer \xc3\x28"], ["Authorization:"], ["Authorization: Bearer"],
        ["Authorization: Bearer "], ["Authorization: sesame"], ["Authorization: Basic c2VzYW1l"],
        ["Authorization: Bearer sesame2"],
        ["Authorization: Bearersesame"], ["Authorization: Bearer\tsesame"], ["Authorization: "
        "Bearer sesame sesame"],
        ["Authorization: Bearer sesame, Bearer sesame"], ["Authorization: Bearer " + "x" * 8000],
        ["Authorization: "
        "\xff\xfe"],
        ["Authorization: Bearer sesame", "Authorization: Bearer other"], ["Authorization: "
        "Bearer \xed\xb3\xbf"],
        ["Authorization: Bearer \xf0\x9f\x98\x80"], ['Authorization: Bearer "sesame"'],
        ["Authorization: "
        "Bearer SESAME"],
    ],
)  # fmt: skip
async def test_every_authorization_that_is_not_the_key_is_401(
    lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with served(FakeClient(), http_config(api_key=("sesame",))) as url:
        answer = await ask(url, "\n".join([*lines, "X: y"]), method="GET", path="/v1/models")
    assert (answer.status, answer.code, answer.headers["www-authenticate"]) == (
        401,
        "invalid_api_key",
        "Bearer",
    )
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("key", ["sesame", "schlüssel", "鍵", "a b", "\udcff\udcfe"])
async def test_a_key_of_any_bytes_lets_in(key: str) -> None:
    """As a command line and a header give them: bytes that are not UTF-8 are kept (PEP 383)."""
    header = f"Authorization: bearer  {key.encode('utf-8', 'surrogateescape').decode('latin-1')}"
    async with served(FakeClient(), http_config(api_key=(key,))) as url:
        assert (await ask(url, header, method="GET", path="/v1/models")).status == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")), max_size=3
    )
)
def test_no_header_of_any_bytes_is_more_than_no_key(headers: list[str]) -> None:
    assert Keys(("sesame",)).tenant(
        [f"Bearer {header}" for header in headers]
    ) is None or headers == ["sesame"]
    assert Keys(("sesame",)).tenant(headers) is None


async def test_the_clients_that_people_use_get_through() -> None:
    from asyncio import to_thread

    question = {"messages": [{"role": "user", "content": "hi"}]}
    async with served(FakeClient()) as url:
        address = f"{url}/v1/chat/completions"
        assert (
            await to_thread(requests.post, address, json=question, timeout=10)
        ).status_code == 200
        async with httpx.AsyncClient() as client:
            assert (await client.post(address, json=question)).status_code == 200
        async with (
            aiohttp.ClientSession() as session,
            session.post(address, json=question) as response,
        ):
            assert response.status == 200
        async with (
            aiohttp.ClientSession() as session,
            session.post(address, json=question, compress=True) as response,
        ):
            assert response.status == 415
