"""The version of this code: that of its checkout, else that of the package installed."""

import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "thespis"
UNKNOWN = "0+unknown"
"""Of files that were copied without either."""


def version() -> str:
    """A checkout is asked first: the installed package may be another than the code that runs."""
    try:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        if project["name"] == NAME:
            return str(project["version"])
    except (OSError, ValueError, KeyError, TypeError):  # no checkout
        pass
    try:
        return installed_version(NAME)
    except PackageNotFoundError:
        return UNKNOWN
