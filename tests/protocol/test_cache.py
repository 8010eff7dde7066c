"""Where this user's cache lies."""

from pathlib import Path

import pytest

from thespis.protocol.cache import cache_home


@pytest.mark.parametrize("given", ["", "cache", "./cache", "~/cache"])
def test_only_an_absolute_path_moves_the_cache(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache_home() == tmp_path / ".cache" / "thespis"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "moved"))
    assert cache_home() == tmp_path / "moved" / "thespis"
