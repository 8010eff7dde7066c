"""Imports point down: frontends > actors > gpu_runtime > protocol. Read from the source; nothing is
imported."""

import ast
import re
import sys
from pathlib import Path

import pytest

from .helpers.sources import FILES, ROOT, source
from .helpers.sources import FLOORS as ORDER

FLOORS = {floor: height for height, floor in enumerate(ORDER, start=1)}
WITH_TORCH = {
    ("actors", folder) for folder in ("encode_worker", "encoder_cache", "facts", "gpu_runner")
}
"""The actors that may use gpu_runtime."""
WITH_PROCESSORS = (
    "actors/decode_worker/actor.py",
    "actors/decode_worker/clip_headers.py",
    "actors/decode_worker/item.py",
    "actors/decode_worker/video.py",
)
"""What decode workers alone import, and may use what makes items, and a grammar's vocabulary."""
SHARED = ("jobs", "kernel", "prompting", "quarantine")
"""The folders of actors/ that are no actor: what several of them stand on."""
ZMQ_AT_HOME = ("protocol/channel.py", "actors/")


def imports(file: Path) -> frozenset[tuple[str, ...]]:
    return source(file).imports


def upward(file: Path) -> list[str]:
    """The imports by which it reaches for what stands above it, or for another actor."""
    floor, actor = file.parts[0], file.parts[:2]
    wrong = []
    for name in imports(file):
        right = name[0] == "" or FLOORS.get(name[0], 5) <= FLOORS[floor]
        if floor == "actors" and name[0] == "gpu_runtime":
            makes_items = str(file) in WITH_PROCESSORS and (
                name[1] == "processing" or name[1:3] == ("sampling", "vocabulary")
            )
            right = actor in WITH_TORCH or makes_items
        if floor == "actors" and name[0] == "actors":
            right = name[1] in (*SHARED, actor[1])
        if not right:
            wrong.append(f"{file} imports {'.'.join(name)}")
    return wrong


def test_imports_point_down() -> None:
    assert [wrong for file in FILES for wrong in upward(file)] == []


def test_the_protocol_needs_only_msgspec() -> None:
    for file in FILES:
        if file.parts[0] == "protocol":
            packages = {name[1] for name in imports(file) if name[0] == ""}
            allowed = {"msgspec", "zmq"} if file.name == "channel.py" else {"msgspec"}
            assert packages - set(sys.stdlib_module_names) <= allowed, file


def test_anyio_is_for_the_shells_of_actors() -> None:
    for file in FILES:
        if any(name[:2] == ("", "anyio") for name in imports(file)):
            assert (file.parts[0], file.name) == ("actors", "actor.py")


def test_one_loop_reads_the_descriptors_of_zmq() -> None:
    """They are edge-triggered: whoever waits for one in another way loses messages."""
    reading = [str(file) for file in FILES if any(to == "FD" for _, to in source(file).attributes)]
    assert reading == ["actors/kernel/pump.py"]


def test_no_floor_names_a_module_above_it() -> None:
    """In a string, where no import is seen: who stands above says the name itself."""
    for file in FILES:
        named = {
            match for text in source(file).texts for match in re.findall(r"thespis\.(\w+)\.", text)
        }
        above = {name for name in named if FLOORS.get(name, 0) > FLOORS[file.parts[0]]}
        assert above == set(), file


@pytest.mark.parametrize("floor", ["protocol", "actors", "frontends"])
def test_no_two_public_classes_of_a_floor_share_a_name(floor: str) -> None:
    """Nor do aliases of types: a search for a name finds one thing."""
    where: dict[str, set[str]] = {}
    for file in FILES:
        if file.parts[0] == floor:
            for name in source(file).names:
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
