"""A model that takes parts from another one: both come from the hub, or from where the
configuration says."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from thespis.frontends.hub.locate import fetched, located
from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.weights.companions import companions_of
from thespis.protocol.checkpoint.hub_id import HubId
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError

from ...gpu_runtime.families.rewriting import rewritten
from ...helpers.hub import FakeHub
from ...zoo.catalog import build

TEXT = "org/words"
COMMITS = {"org/vox": "a" * 40, TEXT: "b" * 40}


def cached(root: Path, name: str, folder: Path) -> Path:
    """The folder's files as a snapshot in a cache."""
    place = root / f"models--{name.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMITS[name]
    shutil.copytree(folder, snapshot)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMITS[name])
    return snapshot


def test_a_snapshot_takes_its_companion_from_the_same_cache(tmp_path: Path) -> None:
    folder = rewritten(build("ultravox", tmp_path / "vox"), "config.json", text_model_id=TEXT)
    text = cached(tmp_path / "hub", TEXT, folder / "text")
    shutil.rmtree(folder / "text")
    snapshot = cached(tmp_path / "hub", "org/vox", folder)
    assert companions_of(snapshot) == {"text_config": text}
    first = model_facts(snapshot).fingerprint
    with (text / "config.json").open("a") as file:
        file.write(" ")
    assert model_facts(snapshot).fingerprint != first
    shutil.rmtree(text.parent)
    with pytest.raises(
        EngineError,
        match=r"takes a part of its weights from 'org/words' .* thespis pull org/words\.",
    ):
        model_facts(snapshot)


def test_a_snapshot_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    folder = build("ultravox", tmp_path / "vox")
    snapshot = cached(
        tmp_path / "hub",
        "org/vox",
        rewritten(folder, "config.json", text_model_id=str(folder / "text")),
    )
    with pytest.raises(EngineError, match="which is no id of a model"):
        companions_of(snapshot)


def published(folder: Path) -> dict[str, bytes]:
    """As on a hub, with code beside it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} | {
        "code.py": b"raise SystemExit"
    }


def test_a_model_of_a_hub_is_fetched_with_its_companion_and_no_code(
    hub: FakeHub, tmp_path: Path
) -> None:
    folder = rewritten(build("ultravox", tmp_path / "vox"), "config.json", text_model_id=TEXT)
    tokenizer = (folder / "tokenizer.json").read_bytes()
    hub.add("org/vox", published(folder))
    hub.add(TEXT, {**published(folder / "text"), "tokenizer.json": tokenizer})
    snapshot = fetched(HubId("org/vox", None), str(tmp_path / "hub"))
    (text,) = companions_of(snapshot).values()
    assert text.is_relative_to(tmp_path / "hub")
    assert not list((tmp_path / "hub").rglob("*.py"))
    assert model_facts(snapshot).layers == 3
    hub.close()
    assert fetched(HubId("org/vox", snapshot.name), str(tmp_path / "hub")) == snapshot


def test_a_folder_that_names_a_model_of_a_hub_has_it_fetched(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = rewritten(build("ultravox", tmp_path / "vox"), "config.json", text_model_id=TEXT)
    hub.add(
        TEXT,
        {**published(folder / "text"), "tokenizer.json": (folder / "tokenizer.json").read_bytes()},
    )
    shutil.rmtree(folder / "text")
    assert located(EngineConfig(model=str(folder))).model == str(folder)
    assert model_facts(folder).layers == 3


def test_a_companion_has_none_of_its_own(hub: FakeHub, tmp_path: Path) -> None:
    """What a companion names is nobody's part, and may be itself."""
    folder = rewritten(build("ultravox", tmp_path / "vox"), "config.json", text_model_id="org/vox")
    hub.add("org/vox", published(folder))
    fetched(HubId("org/vox", None), str(tmp_path / "hub"))
    assert len([asked for asked in hub.asked if asked.path.startswith("/api/")]) == 2
