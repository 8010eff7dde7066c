"""Section A on an engine with an allowlist, a local folder, a cache on disk, and without redirects."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..helpers.checkpoints import Checkpoints
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


@pytest.fixture(scope="module")
def stage(checkpoints: Checkpoints, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    options = {
        "allowed_media_domains": ("Pictures.Example.", "bücher.example", "private.example", "127.0.0.1"),
        "allowed_local_media_path": str(folder),
        "media_cache": str(tmp_path_factory.mktemp("cache")),
        "media_cache_ttl_hours": 6 / 3600,
    }
    with on_stage(checkpoints("qwen_omni"), {"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}, **options) as stage:
        yield stage
        assert stage.site.canary_heard == 0, "somebody connected to a forbidden address"


@pytest.mark.parametrize(
    "host", ["pictures.example", "PICTURES.example", "pictures.example.", "bücher.example", "xn--bcher-kva.example"]
)
def test_S1_a_domain_on_the_list_is_fetched_from(stage: Stage, host: str) -> None:
    stage.answered(part(stage.site.url("/picture-1.png", host)))


@pytest.mark.parametrize("host", ["cdn.example", "www.pictures.example", "pictures.example.cdn.example", "93.184.216.34"])
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
    """S7: by the twin of the variable."""
    assert "switched off" in stage.refused(part(stage.site.url("/hops/1")))


@pytest.mark.parametrize("name", ["a.png", "inner/b%20c.png", "per%252ecent.png", "./inner/../a.png", "inner//b%20c.png"])
def test_S5_a_file_below_the_folder_is_read(stage: Stage, folder: Path, name: str) -> None:
    url = f"file://{folder}/{name}"
    if ".." in name:
        stage.refused(part(url))
    else:
        stage.answered(part(url))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.png", "/%2e%2e/secret.png", "/inner/..%2f..%2fsecret.png", "/up/secret.png", "/link.png", "/fifo.png",
        "/inner", "", "/", "/nothing.png", "/a.png%00.png", "/../../../../../../etc/hostname", "/..%c0%af..%c0%afetc/hostname",
    ],
)  # fmt: skip
def test_S5_nothing_else_is(stage: Stage, folder: Path, path: str) -> None:
    start = time.monotonic()
    stage.refused(part(f"file://{folder}{path}"))
    assert time.monotonic() - start < 5, "a FIFO holds nobody up"


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "file:///dev/zero", "file://elsewhere/a.png", "file:a.png", "FILE:///proc/self/environ"]
)
def test_S5_nor_what_lies_elsewhere(stage: Stage, url: str) -> None:
    assert "--allowed-local-media-path" in stage.refused(part(url))


def test_S9_what_was_downloaded_answers_again_until_its_time(stage: Stage) -> None:
    """Also after the fetcher has died: `kill -9` in between."""
    url = stage.site.url("/picture-6.png?kept")
    first = stage.answered(part(url))
    time.sleep(1.2)  # longer than downloads are shared
    pid = stage.faces[0].llm.status().pids["fetcher"]
    os.kill(pid, 9)
    again = stage.answered(part(url))
    assert len(stage.site.asked("/picture-6.png?kept")) == 1
    assert repr(first["llm"].token_ids) == repr(again["http"].token_ids)
    assert stage.faces[0].llm.status().pids["fetcher"] != pid
    assert stage.counters()["cache_hits"] >= 1
    time.sleep(6)
    stage.answered(part(url))
    assert len(stage.site.asked("/picture-6.png?kept")) == 2
