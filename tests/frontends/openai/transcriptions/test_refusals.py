"""Calls for the text of a sound that are refused before anything is asked of an engine."""

import io
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import msgspec
import pytest

from thespis.protocol.facts import PlaceholderFacts

from ..fake import MODEL, FakeClient, full, http_config, served

PATHS = ("/v1/audio/transcriptions", "/v1/audio/translations")
SOUND = PlaceholderFacts(token="<a>", text="<a>", embed_token="<a>", embed_token_id=9)
HEARS = msgspec.structs.replace(MODEL, placeholders={"audio": SOUND})
FORM = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nsound\r\n'
END = b"--b--\r\n"


async def refused(
    url: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, str, str | None]:
    """Status, code and field."""
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.post(url + path, data=io.BytesIO(body), headers=headers) as response,
    ):
        error = (await response.json())["error"]
        return response.status, error["code"], error["param"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_model_that_does_not_hear_says_so(path: str) -> None:
    makes_vectors = msgspec.structs.replace(HEARS, output="vector")
    for model, code in ((MODEL, "unsupported"), (makes_vectors, "wrong_output")):
        client = FakeClient()
        async with served(client, http_config(model)) as url:
            told = await refused(url, path, FILE + END, {"Content-Type": FORM})
        assert told == (400, code, "model")
        assert not client.submitted


CASES: dict[str, tuple[bytes, str, tuple[int, str]]] = {
    "no form": (b"{}", "application/json", (415, "unsupported_media_type")),
    "no type": (FILE + END, "", (415, "unsupported_media_type")),
    "no boundary": (FILE + END, "multipart/form-data", (400, "invalid_form")),
    "no end": (FILE, FORM, (400, "invalid_form")),
    "no body": (b"", FORM, (400, "invalid_form")),
    "another boundary": (FILE + END, "multipart/form-data; boundary=c", (400, "invalid_form")),
    "a file of another name": (FILE.replace(b'"file"', b'"image"') + END, FORM,
                               (400, "invalid_form")),
    "a file and no name": (FILE.replace(b'name="file"; ', b"") + END, FORM, (400, "invalid_form")),
    "larger than bodies are": (FILE.replace(b"sound", bytes(2 << 20)) + END, FORM,
                               (413, "body_too_large")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_what_is_no_form_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the fake's drafts are
    body, kind, wanted = CASES[name]
    client = FakeClient()
    async with served(client, http_config(HEARS, max_body_mb=1)) as url:
        headers = {"Content-Type": kind} if kind else {}
        assert (await refused(url, PATHS[0], body, headers))[:2] == wanted
    assert list(tmp_path.iterdir()) == []
    assert not client.submitted


async def test_an_engine_without_a_place_refuses_before_the_sound_comes() -> None:
    client = FakeClient()
    client.admission = full()
    async with served(client, http_config(HEARS)) as url:
        told = await refused(url, PATHS[0], FILE + END, {"Content-Type": FORM})
    assert told[:2] == (429, "overloaded")
