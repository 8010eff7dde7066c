from typing import Any

import msgspec
import pytest

from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.environment import NO_LIMIT, Environment, names_of, read
from thespis.protocol.config.page import page
from thespis.protocol.config.roles import FetcherConfig, MediaLimits, PreprocessorConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.config.server_keys import with_keys
from thespis.protocol.errors import EngineError

from ...helpers.facts import DEMO
from ...helpers.sources import FILES, ROOT, source

TWINS = (
    "IMAGE_FETCH_TIMEOUT",
    "VIDEO_FETCH_TIMEOUT",
    "AUDIO_FETCH_TIMEOUT",
    "MEDIA_FETCH_MAX_RETRIES",
    "MEDIA_URL_ALLOW_REDIRECTS",
    "MAX_MEDIA_DOWNLOAD_SIZE_MB",
    "MAX_IMAGE_PIXELS",
    "MAX_AUDIO_DECODE_DURATION_S",
    "MAX_AUDIO_DECODE_BYTES",
    "MAX_EMBED_DECODE_BYTES",
    "MEDIA_CACHE",
    "MEDIA_CACHE_MAX_SIZE_MB",
    "MEDIA_CACHE_TTL_HOURS",
)
"""The reference's own variables of this surface."""


def parts(**settings: Any) -> tuple[FetcherConfig, MediaLimits]:
    config = EngineConfig(**settings)
    roles = divide(config, DEMO).roles
    fetcher, preprocessor = roles["fetcher"], roles["preprocessor"]
    assert isinstance(fetcher, FetcherConfig)
    assert isinstance(preprocessor, PreprocessorConfig)
    return fetcher, preprocessor.media


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Environment.__struct_fields__:
        for name in names_of(field):
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", TWINS)
def test_S7_a_twin_counts_when_its_own_is_unset(name: str) -> None:
    field = name.lower()
    assert getattr(read({f"VLLM_{name}": "1"}), field) == getattr(
        read({f"THESPIS_{name}": "1"}), field
    )
    assert getattr(
        read({f"VLLM_{name}": "1", f"THESPIS_{name}": "0.5" if "TIMEOUT" in name else "1"}), field
    ) == getattr(read({f"THESPIS_{name}": "0.5" if "TIMEOUT" in name else "1"}), field)


def test_S7_an_empty_variable_is_unset() -> None:
    assert (
        read(
            {"THESPIS_IMAGE_FETCH_TIMEOUT": "", "VLLM_IMAGE_FETCH_TIMEOUT": "7"}
        ).image_fetch_timeout
        == 7
    )


def test_S6_S8_the_defaults() -> None:
    fetcher, limits = parts()
    assert fetcher.timeouts == {"image": 5, "video": 30, "audio": 10, "document": 30}
    assert (fetcher.retries, fetcher.redirects, fetcher.max_bytes) == (3, 3, 256 << 20)
    assert (limits.pixels, limits.audio_seconds, limits.audio_bytes) == (
        178_956_970,
        600,
        256 << 20,
    )
    assert (limits.embeds_bytes, limits.video_seconds) == (2 << 30, 300)
    assert fetcher.cache_path is None
    assert limits == MediaLimits()


def test_every_variable_reaches_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set one after another: each changes what some role is told."""
    monkeypatch.setenv("THESPIS_MEDIA_CACHE", "/somewhere")

    def told() -> Any:
        return parts(), with_keys(ServerConfig())

    before = told()
    for field, default in msgspec.structs.asdict(Environment()).items():
        name = names_of(field)[0]
        if field == "ssl_keyfile_password":
            continue  # it is nothing without a key: test_server_tls.py
        with monkeypatch.context() as here:
            here.setenv(
                name,
                "/elsewhere"
                if field == "media_cache"
                else "0"
                if isinstance(default, bool)
                else "7",
            )
            assert told() != before, name


def test_S8_zero_switches_a_cap_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TWINS[5:10]:
        monkeypatch.setenv(f"VLLM_{name}", "0")
    fetcher, limits = parts()
    assert {
        fetcher.max_bytes,
        limits.pixels,
        limits.audio_seconds,
        limits.audio_bytes,
        limits.embeds_bytes,
    } == {NO_LIMIT}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGE_FETCH_TIMEOUT", "soon"),
        ("IMAGE_FETCH_TIMEOUT", "0"),
        ("IMAGE_FETCH_TIMEOUT", "nan"),
        ("MEDIA_DECODE_TIMEOUT", "inf"),  # the timer takes none, and every item failed
        ("VIDEO_FETCH_TIMEOUT", "-1"),
        ("MEDIA_FETCH_MAX_RETRIES", "1.5"),
        ("MEDIA_URL_ALLOW_REDIRECTS", "maybe"),
        ("MAX_MEDIA_DOWNLOAD_SIZE_MB", "inf"),
        ("MEDIA_CACHE_TTL_HOURS", "0"),
    ],
)
def test_a_value_that_makes_no_sense_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(EngineError, match=f"VLLM_{name}"):
        read({f"VLLM_{name}": value})


def test_S9_a_flag_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_MEDIA_CACHE", "/from/variable")
    monkeypatch.setenv("VLLM_MEDIA_CACHE_MAX_SIZE_MB", "1")
    fetcher, _ = parts()
    assert (fetcher.cache_path, fetcher.cache_bytes, fetcher.cache_seconds) == (
        "/from/variable",
        1 << 20,
        24 * 3600,
    )
    fetcher, _ = parts(
        media_cache="/from/flag", media_cache_max_size_mb=2, media_cache_ttl_hours=0.5
    )
    assert (fetcher.cache_path, fetcher.cache_bytes, fetcher.cache_seconds) == (
        "/from/flag",
        2 << 20,
        1800,
    )


@pytest.mark.parametrize("option", ["media_cache_max_size_mb", "media_cache_ttl_hours"])
def test_S9_a_bound_of_the_cache_is_above_nothing(option: str) -> None:
    given: dict[str, Any] = {option: 0.0}
    with pytest.raises(ValueError, match=option):
        EngineConfig(**given)


def test_the_page_in_the_docs_is_the_one_of_the_code() -> None:
    assert (ROOT / "docs" / "environment.md").read_text() == page(), "run scripts/dev environment"


def test_the_environment_is_read_in_one_place() -> None:
    """Nothing else in the package spells one of the names in code."""
    prefixes = ("THESPIS_", "VLLM_")
    assert {
        file.name for file in FILES if any(text.startswith(prefixes) for text in source(file).texts)
    } == {"environment.py"}
