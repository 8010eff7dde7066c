"""What is the id of a model on a hub, and what the name of a folder."""

from pathlib import Path

import pytest

from thespis.protocol.checkpoint.hub_id import HubId, hub_id, is_commit, is_revision
from thespis.protocol.config.engine import EngineConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Qwen/Qwen2-VL-2B-Instruct", HubId("Qwen/Qwen2-VL-2B-Instruct", None)),
        ("org_1/name.with-dots_1", HubId("org_1/name.with-dots_1", None)),
        ("org/name@main", HubId("org/name", "main")),
        ("org/name@refs/pr/3", HubId("org/name", "refs/pr/3")),
        (f"org/name@{COMMIT}", HubId("org/name", COMMIT)),
        ("org/Name-GGUF:Q4_K_M", HubId("org/Name-GGUF", None, "Q4_K_M")),
        ("org/Name-GGUF:Name.Q8_0.gguf@main", HubId("org/Name-GGUF", "main", "Name.Q8_0.gguf")),
    ],
)
def test_an_id(text: str, expected: HubId) -> None:
    assert hub_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "gpt2", "/", "a/", "/a", "a/b/c", "/org/name", "./name", "../name", "~/name", "org/..",
        "org/.name", "org/name.",
        "org/na--me", "org/na..me", "-org/name", "org/name@", "https://host/name", "org/name\n",
        "org/na me", "a\0/b",
        "org/name:", "org/name:a/b",
    ],
)  # fmt: skip
def test_no_id(text: str) -> None:
    assert hub_id(text) is None


def test_what_is_on_this_machine_is_no_id(elsewhere: Path) -> None:
    (elsewhere / "org").mkdir()
    assert hub_id("org/name") is not None
    (elsewhere / "org" / "name").symlink_to("nowhere")
    assert hub_id("org/name") is None


@pytest.mark.parametrize(
    "text", ["", "..", "a/../b", "/main", "main/", "a//b", ".hidden", "a\nb", "a b", "-x", "a:b"]
)
def test_no_revision_leads_out_of_the_cache(text: str) -> None:
    assert not is_revision(text)
    with pytest.raises(ValueError, match="revision"):
        EngineConfig(model="org/name", revision=text)


def test_only_a_whole_hash_names_a_state_for_ever() -> None:
    assert is_commit(COMMIT)
    assert not is_commit(COMMIT[:-1])
    assert not is_commit("main")


def test_the_name_served_is_the_id() -> None:
    assert EngineConfig(model="org/name@v1").name == "org/name"
    assert EngineConfig(model="org/name", served_model_name="mine").name == "mine"


def test_a_revision_of_a_folder_or_two_of_a_model_are_refused(elsewhere: Path) -> None:
    with pytest.raises(ValueError, match="no id of a model on a hub"):
        EngineConfig(model=str(elsewhere), revision="main")
    with pytest.raises(ValueError, match="names 'v1' already"):
        EngineConfig(model="org/name@v1", revision="v2")
    assert EngineConfig(model="org/name@v1", revision="v1").revision == "v1"
