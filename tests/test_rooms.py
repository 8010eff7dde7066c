"""Rooms are the folders and loose files of a floor: their imports point one way, and none grows
beyond its share.

`python -m thespis.scripts.rooms` prints them.
"""

from graphlib import CycleError
from pathlib import Path

import pytest

from thespis.scripts.rooms import ROOT, read, with_rooms

from .helpers.sources import FILES, source

ORDER = {
    "protocol": (
        "bounded cache errors pixels version wire",
        "checkpoint memory refusals",
        "requests",
        "facts grammars",
        "chat_templates edges",
        "topology",
        "channel config",
    ),
    "gpu_runtime": (
        "families gguf memory native quick_imports ranks sampling",
        "layers weights",
        "inspection pooling triton",
        "attention processing",
        "steps",
        "adapter",
        "facts models",
        "runner",
    ),
    "actors": (
        "kernel quarantine",
        "prompting",
        "jobs",
        "decode_worker detokenizer director encode_worker encoder_cache facts fetcher gpu_runner "
        "preprocessor scheduler",
    ),
    "frontends": (
        "hub start_bar unbuilt validation",
        "client engine",
        "inputs",
        "openai python",
        "ray",
        "cli",
    ),
}
"""The rooms of each floor, the lowest first: each may import those in the lines above its own, and
none beside it."""
SHARED = ("kernel", "quarantine", "prompting", "jobs")
ROLE, FILE, FUNCTION = 0.3, 400, 60
"""The most that a role is of the lines of its floor, and the most lines of a file and of a
function."""


@pytest.mark.parametrize("folder", with_rooms(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_no_rooms_import_each_other_in_a_circle(folder: Path) -> None:
    try:
        read(folder).levels()
    except CycleError as error:
        pytest.fail(
            f"rooms of {folder.relative_to(ROOT)}/ import each other: {' -> '.join(error.args[1])}"
        )


@pytest.mark.parametrize("floor", ORDER)
def test_imports_point_to_lower_rooms(floor: str) -> None:
    heights = {room: height for height, rooms in enumerate(ORDER[floor]) for room in rooms.split()}
    plan = read(ROOT / floor)
    assert heights.keys() == plan.arrows.keys(), (
        "name each room of the floor in ORDER, at its height"
    )
    upward = [
        f"{room} -> {other}"
        for room, below in plan.arrows.items()
        for other in below
        if heights[other] >= heights[room]
    ]
    assert upward == []


def test_no_role_is_the_floor() -> None:
    lines = read(ROOT / "actors").lines
    assert {
        role
        for role, count in lines.items()
        if role not in SHARED and count > ROLE * sum(lines.values())
    } == set()


def test_no_file_is_a_house() -> None:
    assert {str(file) for file in FILES if source(file).lines > FILE} == set()


def test_no_function_is_a_file() -> None:
    assert {
        f"{file}: {name}"
        for file in FILES
        for name, lines in source(file).functions
        if lines > FUNCTION
    } == set()


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_rooms_levels_and_arrows_are_read_from_every_form_of_import(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "actors/__init__.py": "",
            "actors/low.py": "import thespis.protocol.wire\n",
            "actors/mid/__init__.py": "",
            "actors/mid/a.py": "def f():\n    from ..low import x\n",
            "actors/mid/b.py": "from .a import f\n",
            "actors/high.py": "import thespis.actors.mid.b\nfrom . import low\n",
            "actors/top.py": "from thespis.actors import high\nfrom thespis.actors.mid import a\n",
        },
    )
    plan = read(root / "actors", root)
    assert plan.levels() == {"low": 1, "mid": 2, "high": 3, "top": 4}
    assert plan.arrows == {
        "low": set(),
        "mid": {"low"},
        "high": {"low", "mid"},
        "top": {"high", "mid"},
    }
    assert plan.lines == {"low": 1, "mid": 3, "high": 2, "top": 2}


def test_a_circle_is_seen(tmp_path: Path) -> None:
    root = written(
        tmp_path, {"actors/a/b.py": "from ..c import d\n", "actors/c.py": "from .a.b import e\n"}
    )
    with pytest.raises(CycleError):
        read(root / "actors", root).levels()
