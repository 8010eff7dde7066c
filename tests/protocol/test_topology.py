from pathlib import Path

import pytest

import thespis
from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.topology import EDGES, edges_from, edges_to, kind_of, picture

from .config.test_division import SEEING


def test_an_edge_stands_once_in_the_table_and_has_a_bound() -> None:
    assert len({(edge.sender, edge.receiver) for edge in EDGES}) == len(EDGES)
    assert all(edge.bound > 0 and edge.sender != edge.receiver for edge in EDGES)


def test_every_role_of_a_division_is_in_the_table() -> None:
    engine = EngineConfig(decode_workers=2, tensor_parallel_size=2, encoders=2)
    kinds = {kind_of(role) for role in divide(engine, SEEING).roles}
    assert kinds == {kind for edge in EDGES for kind in (edge.sender, edge.receiver)}


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("client-7f", "client"),
        ("client", "client"),
        ("decode-worker-12", "decode-worker"),
        ("encode-worker-1", "encode-worker"),
        ("encoder-cache", "encoder-cache"),
        ("gpu-runner", "gpu-runner"),
        ("gpu-runner-1", "gpu-runner-rank"),
        ("scheduler", "scheduler"),
        ("clients", "clients"),
    ],
)
def test_kind_of_a_role(role: str, kind: str) -> None:
    assert kind_of(role) == kind


def test_both_ends_of_an_edge_see_the_same_row() -> None:
    for edge in EDGES:
        assert edges_from(edge.sender)[edge.receiver] is edge
        assert edges_to(edge.receiver)[edge.sender] is edge
    assert edges_from("client-x") == edges_from("client")


def test_the_picture_shows_every_edge_and_stands_in_the_docs() -> None:
    first, *lines = picture().splitlines()
    assert first == "flowchart LR"
    drawn = [line.split() for line in lines]
    there = [(sender, receiver) for sender, _, receiver in drawn]
    back = [(receiver, sender) for sender, arrow, receiver in drawn if arrow == "<-->"]
    assert sorted(there + back) == sorted((edge.sender, edge.receiver) for edge in EDGES)
    page = Path(thespis.__file__).parent / "docs" / "architecture.md"
    assert f"```mermaid\n{picture()}\n```" in page.read_text()
