"""Imports point down: frontends > actors > gpu_runtime > protocol. Read from the source; nothing is
imported."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import thespis

ROOT = Path(thespis.__file__).parent
FLOORS = {"protocol": 1, "gpu_runtime": 2, "actors": 3, "frontends": 4}
WITH_TORCH = {("actors", "encoder_cache"), ("actors", "facts"), ("actors", "gpu_runner")}
"""The actors that may use gpu_runtime."""
WITH_PROCESSORS = (
    "actors/decode_worker/actor.py",
    "actors/decode_worker/item.py",
    "actors/decode_worker/video.py",
)
"""What decode workers alone import, and may use what makes items, and a grammar's vocabulary."""
SHARED = ("jobs", "kernel", "prompting", "quarantine")
"""The folders of actors/ that are no actor: what several of them stand on."""
ZMQ_AT_HOME = ("protocol/channel.py", "actors/")
FILES = sorted(path.relative_to(ROOT) for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


@cache
def imports(file: Path) -> set[tuple[str, ...]]:
    """Every module that `file` names in an import, lazy ones included; ours as (floor, ...), others
    as ("", package, ...)."""
    found: set[tuple[str, ...]] = set()
    package = file.parts[:-1]
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = tuple((node.module or "").split(".")) if node.module else ()
            if node.level:
                base = (*package[: len(package) - node.level + 1], *base)
                found |= {(*base, alias.name) for alias in node.names}
                continue
            names = [(*base, alias.name) for alias in node.names]
        else:
            continue
        found |= {name[1:] if name[0] == "thespis" else ("", *name) for name in names}
    return found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_down(file: Path) -> None:
    floor, actor = file.parts[0], file.parts[:2]
    for name in imports(file):
        if name[0] == "":
            continue
        assert FLOORS.get(name[0], 5) <= FLOORS[floor], (
            f"{file} imports {'.'.join(name)}, which stands above it"
        )
        if floor == "actors" and name[0] == "gpu_runtime":
            makes_items = str(file) in WITH_PROCESSORS and (
                name[1] == "processing" or name[1:3] == ("sampling", "vocabulary")
            )
            assert actor in WITH_TORCH or makes_items, f"{file} imports {'.'.join(name)}"
        if floor == "actors" and name[0] == "actors":
            assert name[1] in (*SHARED, actor[1]), (
                f"the actor in {'/'.join(actor)} imports the actor {name[1]}"
            )


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] == "protocol"], ids=str)
def test_the_protocol_needs_only_msgspec(file: Path) -> None:
    allowed = {"msgspec", "zmq"} if file.name == "channel.py" else {"msgspec"}
    strangers = {name[1] for name in imports(file) if name[0] == ""} - set(sys.stdlib_module_names)
    assert strangers <= allowed


@pytest.mark.parametrize("file", FILES, ids=str)
def test_anyio_is_for_the_shells_of_actors(file: Path) -> None:
    if any(name[:2] == ("", "anyio") for name in imports(file)):
        assert (file.parts[0], file.name) == ("actors", "actor.py")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_one_loop_reads_the_descriptors_of_zmq(file: Path) -> None:
    """They are edge-triggered: whoever waits for one in another way loses messages."""
    nodes = ast.walk(ast.parse((ROOT / file).read_text()))
    if any(isinstance(node, ast.Attribute) and node.attr == "FD" for node in nodes):
        assert str(file) == "actors/kernel/pump.py"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_floor_names_a_module_above_it(file: Path) -> None:
    """In a string, where no import is seen: who stands above says the name itself."""
    texts = (node.value for node in ast.walk(tree(file)) if isinstance(node, ast.Constant))
    named = {
        match
        for text in texts
        if isinstance(text, str)
        for match in re.findall(r"thespis\.(\w+)\.", text)
    }
    assert {name for name in named if FLOORS.get(name, 0) > FLOORS[file.parts[0]]} == set()


@pytest.mark.parametrize("floor", ["protocol", "actors", "frontends"])
def test_no_two_public_classes_of_a_floor_share_a_name(floor: str) -> None:
    """Nor do aliases of types: a search for a name finds one thing."""
    where: dict[str, set[str]] = {}
    for file in FILES:
        if file.parts[0] == floor:
            for node in tree(file).body:
                target = node.targets[0] if isinstance(node, ast.Assign) else None
                name = (
                    node.name
                    if isinstance(node, ast.ClassDef)
                    else target.id
                    if isinstance(target, ast.Name)
                    else "_"
                )
                if name[0].isupper() and not name.isupper():
                    where.setdefault(name, set()).add(str(file))
    assert {name: files for name, files in where.items() if len(files) > 1} == {}


def test_no_pickle_anywhere() -> None:
    unsafe = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
    guilty = [
        str(file) for file in FILES for name in imports(file) if name[0] == "" and name[1] in unsafe
    ]
    assert guilty == []


def test_triton_is_imported_by_its_kernels_alone() -> None:
    """Nobody needs those before a GPU is there that they are made for: they are imported in a
    function."""
    assert {
        str(file) for file in FILES for name in imports(file) if name[:2] == ("", "triton")
    } == {"gpu_runtime/triton/kernels.py"}
    kernels = ("gpu_runtime", "triton", "kernels")
    assert {str(file) for file in FILES for name in imports(file) if name[:3] == kernels} == {
        "gpu_runtime/triton/library.py"
    }
    at_once = ast.parse((ROOT / "gpu_runtime/triton/library.py").read_text()).body
    assert not any(
        "kernels" in ast.unparse(node)
        for node in at_once
        if isinstance(node, ast.Import | ast.ImportFrom)
    )


def test_sockets_are_the_business_of_few_files() -> None:
    guilty = {
        str(file)
        for file in FILES
        for name in imports(file)
        if name[:2] == ("", "zmq") and not str(file).startswith(ZMQ_AT_HOME)
    }
    assert guilty == set()
