"""The documents name files that are there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PATH = re.compile(r"`([a-z_]+(?:/[a-z_A-Z.0-9]+)+/?)`")
OTHERS = {"thespis/triton", "protocol/edges/SENDER_to_RECEIVER.py", "application/json"}
"""No files of this repository."""


def files() -> set[str]:
    """Files and folders, also by the ends of their paths, as a document of one floor names them."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    whole = {str(path) for name in listed for path in (Path(name), *Path(name).parents)}
    return whole | {
        path.split("/", cut)[cut] for path in whole for cut in range(1, path.count("/") + 1)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    named = {path.rstrip("/") for path in PATH.findall(page.read_text())}
    assert named - OTHERS <= files()
