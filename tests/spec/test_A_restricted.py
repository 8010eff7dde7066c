"""Section A on an engine with an allowlist, a local folder, a cache on disk, and without
redirects."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thespis.frontends.inputs.embeds import encode_embeds

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import data_url, picture, png, sound, wav
from .faces import Refused
from .stage import Stage, on_stage
from .web import media, part

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Below it a picture under plain and odd names, and what is none; beside it a secret."""
    root = tmp_path_factory.mktemp("local")
    folder = root / "media"
    (folder / "inner").mkdir(parents=True)
    (root / "secret.png").write_bytes(media("picture-2.png"))
    for name in ("a.png", "inner/b c.png", "per%2ecent.png"):
        (folder / name).write_bytes(media("picture-1.png"))
    (folder / "link.png").symlink_to(root / "secret.png")
    (folder / "up").symlink_to(root)
    os.mkfifo(folder / "fifo.png")
    return folder


TWINS = {
    "VLLM_IMAGE_FETCH_TIMEOUT": "1.75",
    "VLLM_VIDEO_FETCH_TIMEOUT": "1.5",
    "VLLM_AUDIO_FETCH_TIMEOUT": "60",
    "THESPIS_AUDIO_FETCH_TIMEOUT": "1.25",
    "VLLM_MEDIA_FETCH_MAX_RETRIES": "0",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB": "0.5",
    "VLLM_MAX_IMAGE_PIXELS": "50000",
    "VLLM_MAX_AUDIO_DECODE_DURATION_S": "0.9",
    "VLLM_MAX_AUDIO_DECODE_BYTES": "48000",
    "VLLM_MAX_EMBED_DECODE_BYTES": "4096",
    "VLLM_MEDIA_CACHE_MAX_SIZE_MB": "0.025",
    "VLLM_MEDIA_CACHE_TTL_HOURS": str(6 / 3600),
}
"""The reference's variables alone, but for one beside which its own is set. VLLM_MEDIA_CACHE is the
stage's folder."""


@pytest.fixture(scope="module")
def stage(
    checkpoints: Checkpoints, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    options = {
        "allowed_media_domains": (
            "Pictures.Example.",
            "bücher.example",
            "private.example",
            "127.0.0.1",
        ),
        "allowed_local_media_path": str(folder),
        "enable_mm_embeds": True,
    }
    environ = {**TWINS, "VLLM_MEDIA_CACHE": str(tmp_path_factory.mktemp("cache"))}
    with on_stage(checkpoints("qwen_omni"), environ, **options) as stage:
        yield stage
        assert stage.site.canary_heard == 0, "somebody connected to a forbidden address"


@pytest.mark.parametrize(
    "host",
    [
        "pictures.example",
        "PICTURES.example",
        "pictures.example.",
        "bücher.example",
        "xn--bcher-kva.example",
    ],
)
def test_S1_a_domain_on_the_list_is_fetched_from(stage: Stage, host: str) -> None:
    stage.answered(part(stage.site.url("/picture-1.png", host)))


@pytest.mark.parametrize(
    "host", ["cdn.example", "www.pictures.example", "pictures.example.cdn.example", "93.184.216.34"]
)
def test_S1_any_other_is_refused_with_its_name_and_the_list(stage: Stage, host: str) -> None:
    outcomes = stage.everywhere(part(stage.site.url("/picture-1.png?other", host)))
    for outcome in outcomes.values():
        assert host in str(outcome)
        assert "pictures.example, xn--bcher-kva.example, private.example" in str(outcome)
    assert not stage.site.asked("/picture-1.png?other")


@pytest.mark.parametrize("host", ["private.example", "127.0.0.1"])
def test_S1_a_list_opens_no_private_address(stage: Stage, host: str) -> None:
    assert "public" in stage.refused(part(stage.site.trap(host)))
    assert stage.site.canary_heard == 0


def test_S3_redirects_are_switched_off(stage: Stage) -> None:
    assert "switched off" in stage.refused(part(stage.site.url("/hops/1")))


def test_S7_twins_say_how_long_and_how_often_is_fetched(stage: Stage) -> None:
    for kind, limit in (("image", "1.75"), ("video", "1.5"), ("audio", "1.25")):
        for outcome in stage.everywhere(part(stage.site.url(f"/drip?twin-{kind}"), kind)).values():
            assert f"longer than {limit} s" in str(outcome), "wherever the time was spent"
    assert "503" in stage.refused(part(stage.site.url("/flaky/503/99?twin")))
    assert len(stage.site.asked("/flaky/503/99?twin")) <= 3, "once for each face"


EMBEDS = {
    "type": "image_embeds",
    "image_embeds": encode_embeds(np.zeros((64, 64), np.float32), (1, 16, 16)),
}
"""16 KiB, and a little."""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda site: part(site.url("/endless")), "524288"),
        (lambda site: part(data_url("image/png", png(picture(1, 250, 220)))), "50000"),
        (lambda site: part(data_url("audio/wav", wav(sound(1, 1.0))), "audio"), "0.9"),
        (lambda site: part(data_url("audio/wav", wav(sound(1, 0.8))), "audio"), "48000"),
        (lambda site: EMBEDS, "4096"),
    ],
    ids=["download", "pixels", "seconds", "samples", "embeddings"],
)
def test_S7_twins_say_how_much_is_taken(stage: Stage, given: Any, says: str) -> None:
    outcomes = stage.everywhere(given(stage.site))
    for outcome in outcomes.values():
        assert isinstance(outcome, Refused)
        assert outcome.status == 413
        assert says in outcome.text


def test_S7_a_twin_says_how_much_the_cache_keeps(stage: Stage) -> None:
    """25 KiB: of two sounds of 16 the second drives out the first, and is kept itself."""
    urls = [stage.site.url(f"/sound-{seed}.wav?kept-by-twin") for seed in (31, 32)]
    for url in urls:
        stage.answered(part(url, "audio"))
    time.sleep(1.2)  # longer than downloads are shared
    for url in reversed(urls):
        stage.answered(part(url, "audio"))
    assert [len(stage.site.asked(f"/sound-{seed}.wav?kept-by-twin")) for seed in (31, 32)] == [2, 1]


@pytest.mark.parametrize(
    "name", ["a.png", "inner/b%20c.png", "per%252ecent.png", "./inner/../a.png", "inner//b%20c.png"]
)
def test_S5_a_file_below_the_folder_is_read(stage: Stage, folder: Path, name: str) -> None:
    url = f"file://{folder}/{name}"
    if ".." in name:
        stage.refused(part(url))
    else:
        stage.answered(part(url))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.png", "/%2e%2e/secret.png", "/inner/..%2f..%2fsecret.png", "/up/secret.png",
        "/link.png", "/fifo.png",
        "/inner", "", "/", "/nothing.png", "/a.png%00.png", "/../../../../../../etc/hostname",
        "/..%c0%af..%c0%afetc/hostname",
    ],
)  # fmt: skip
def test_S5_nothing_else_is(stage: Stage, folder: Path, path: str) -> None:
    start = time.monotonic()
    stage.refused(part(f"file://{folder}{path}"))
    assert time.monotonic() - start < 30, "a FIFO holds nobody up"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "file:///dev/zero",
        "file://elsewhere/a.png",
        "file:a.png",
        "FILE:///proc/self/environ",
    ],
)
def test_S5_nor_what_lies_elsewhere(stage: Stage, url: str) -> None:
    assert "--allowed-local-media-path" in stage.refused(part(url))


def test_S9_what_was_downloaded_answers_again_until_its_time(stage: Stage) -> None:
    """S7: in the folder and for the time that the twins name. Also after the fetcher has died:
    `kill -9` in between."""
    url = stage.site.url("/picture-6.png?kept")
    first = stage.answered(part(url))
    kept = time.monotonic()
    time.sleep(1.2)  # longer than downloads are shared
    pid = stage.faces[0].llm.status().pids["fetcher"]
    os.kill(pid, 9)
    again = stage.answered(part(url))
    assert len(stage.site.asked("/picture-6.png?kept")) == 1
    assert repr(first["llm"].token_ids) == repr(again["http"].token_ids)
    assert stage.faces[0].llm.status().pids["fetcher"] != pid
    assert stage.counters()["cache_hits"] >= 1
    time.sleep(max(0.0, kept + 6.1 - time.monotonic()))
    stage.answered(part(url))
    assert len(stage.site.asked("/picture-6.png?kept")) == 2
