"""The version, with and without a package's metadata."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import thespis
from thespis.protocol import version


def without_metadata(name: str) -> str:
    raise PackageNotFoundError(name)


def test_a_checkout_knows_its_version_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "installed_version", without_metadata)
    assert thespis.__version__ == version.version()
    assert thespis.__version__[0].isdigit()


def test_a_checkouts_own_version_comes_before_that_of_another_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(version, "installed_version", lambda name: "99.0")
    assert version.version() != "99.0"


@pytest.mark.parametrize(
    "text", [None, "", "[", "[project]", '[project]\nname = "other"\nversion = "7"', "project = 7"]
)
def test_outside_of_a_checkout_the_installed_package_says_it(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "ROOT", tmp_path)
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.setattr(version, "installed_version", lambda name: "99.0")
    assert version.version() == "99.0"
    monkeypatch.setattr(version, "installed_version", without_metadata)
    assert version.version() == version.UNKNOWN


def test_a_clone_that_is_called_thespis_can_be_imported_from_the_folder_above(
    tmp_path: Path,
) -> None:
    (tmp_path / "thespis").symlink_to(version.ROOT, target_is_directory=True)
    code = "import thespis; print(thespis.__version__, thespis.__file__)"
    said = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == [version.version(), str(tmp_path / "thespis" / "__init__.py")]
