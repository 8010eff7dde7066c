"""A model by its id, from a hub on loopback: what is asked, what is kept, and what is said where it
cannot be had."""

import contextlib
import json
import os
import shutil
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from thespis.frontends.hub import fetch, listing, locate
from thespis.frontends.hub.fetch import Stopped
from thespis.frontends.hub.locate import fetched, located
from thespis.protocol.checkpoint.hub_id import HubId
from thespis.protocol.checkpoint.weight_files import fingerprint
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError

from ...helpers.hub import FakeHub, Repository

NAME = "org/model"
MAIN = HubId(NAME, None)


def weights(size: int = 300_000, fill: bytes = b"w") -> bytes:
    """A safetensors file of one tensor."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + fill * size


FILES = {
    "config.json": b'{"model_type": "x"}',
    "tokenizer.json": b'{"model": {}}' + b" " * 20_000,
    "chat_template.jinja": b"{{ messages }}",
    "model.safetensors": weights(),
}


def told(wanted: HubId, cache: Path) -> str:
    with pytest.raises(EngineError) as refused:
        fetched(wanted, str(cache))
    text = str(refused.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@pytest.fixture
def model(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(fetch, "PAUSES", (0.01, 0.01))
    return hub.add(NAME, FILES)


def test_the_first_start_fetches_and_the_second_asks_once(
    hub: FakeHub, model: Repository, cache: Path
) -> None:
    folder = fetched(MAIN, str(cache))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert folder.name == model.branches["main"]
    assert len(hub.asked) == 1 + len(FILES)
    hub.asked.clear()
    assert fetched(MAIN, str(cache)) == folder
    assert [asked.path.partition("?")[0] for asked in hub.asked] == [f"/api/models/{NAME}"]


def test_a_full_commit_that_is_here_asks_nothing(
    hub: FakeHub, model: Repository, cache: Path
) -> None:
    folder = fetched(HubId(NAME, model.branches["main"]), str(cache))
    hub.asked.clear()
    assert fetched(HubId(NAME, folder.name), str(cache)) == folder
    assert hub.asked == []


def test_a_cut_transfer_goes_on_where_it_was(hub: FakeHub, model: Repository, cache: Path) -> None:
    hub.cuts = [100_000, 50_000]
    folder = fetched(MAIN, str(cache))
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    ranges = [asked.range for asked in hub.asked if asked.path.endswith("model.safetensors")]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_what_came_before_a_start_ended_is_not_fetched_again(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PAUSES", ())
    hub.cuts = [200_000]
    assert "the next start goes on from there" in told(MAIN, cache)
    hub.asked.clear()
    folder = fetched(MAIN, str(cache))
    assert hub.fetched() == ["model.safetensors"]
    assert hub.asked[-1].range == "bytes=200000-"
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_hub_that_sends_all_of_it_again_is_understood(
    hub: FakeHub, model: Repository, cache: Path
) -> None:
    hub.cuts, hub.no_ranges = [100_000], True
    assert (fetched(MAIN, str(cache)) / "model.safetensors").read_bytes() == FILES[
        "model.safetensors"
    ]


def test_a_new_state_fetches_what_is_new(hub: FakeHub, model: Repository, cache: Path) -> None:
    old = fetched(MAIN, str(cache))
    model.commit({**FILES, "config.json": b'{"model_type": "y"}'})
    hub.asked.clear()
    new = fetched(MAIN, str(cache))
    assert hub.fetched() == ["config.json"]
    assert new != old
    assert (new / "model.safetensors").samefile(old / "model.safetensors")
    hub.close()
    assert fetched(MAIN, str(cache)) == new


def test_a_hub_that_is_gone_leaves_the_cache(
    hub: FakeHub, model: Repository, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = fetched(MAIN, str(cache))
    hub.close()
    assert fetched(MAIN, str(cache)) == folder
    assert f"taken from the cache as it was at commit {folder.name[:12]}" in caplog.text
    text = told(HubId("org/other", None), cache)
    assert text.startswith("There is no folder 'org/other' here")
    assert "cannot be reached" in text


@pytest.mark.parametrize("status", [500, 503, 429, 403])
def test_a_hub_in_trouble_leaves_the_cache(
    hub: FakeHub, model: Repository, cache: Path, status: int
) -> None:
    folder = fetched(MAIN, str(cache))
    hub.status = status
    assert fetched(MAIN, str(cache)) == folder
    assert f"status {status}" in told(HubId("org/other", None), cache)


def test_a_hub_that_is_silent_holds_no_start(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ANSWER_SECONDS", 0.2)
    hub.silent = True
    assert "cannot be reached for 'org/model' (ReadTimeout)" in told(MAIN, cache)
    hub.silent = False
    folder = fetched(MAIN, str(cache))
    hub.silent = True
    assert fetched(MAIN, str(cache)) == folder


def test_a_transfer_that_falls_silent_is_taken_up_again(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SILENT_SECONDS", 0.2)
    hub.stalls = [100_000]
    assert (fetched(MAIN, str(cache)) / "model.safetensors").read_bytes() == FILES[
        "model.safetensors"
    ]
    assert hub.asked[-1].range == "bytes=100000-"


def test_what_answers_and_is_no_hub(hub: FakeHub, model: Repository, cache: Path) -> None:
    for answer in (
        b"<html>log in first</html>",
        b"[]",
        b'{"id": "org/model", "sha": "main", "siblings": []}',
    ):
        hub.answer = answer
        text = told(MAIN, cache)
        assert hub.url in text
        assert "see to the network, or to HF_ENDPOINT" in text or "names no commit" in text


def test_a_bug_of_ours_is_no_trouble_of_the_network(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> Any:
        raise KeyError("absent")

    for module, name in ((locate, "ask"), (locate, "small_files"), (fetch.Fetch, "_transfer")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, wrong)
            with pytest.raises(KeyError, match="absent"):
                fetched(MAIN, str(cache))


@pytest.mark.parametrize(
    "lie",
    [
        {"blobId": "../../../evil"},
        {"blobId": "x" * 40},
        {"size": -1},
        {"size": "5"},
        {"rfilename": "config.json/../../x"},
    ],
)
def test_a_hub_that_names_impossible_things(hub: FakeHub, cache: Path, lie: dict[str, Any]) -> None:
    said = {"rfilename": "config.json", "size": 5, "blobId": "a" * 40} | lie
    other = {"rfilename": "model.safetensors", "size": 9, "blobId": "b" * 40}
    hub.answer = json.dumps({"id": NAME, "sha": "c" * 40, "siblings": [said, other]}).encode()
    assert "config.json" in told(MAIN, cache)
    assert not cache.exists()


def test_offline(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetched(MAIN, str(cache))
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetched(MAIN, str(cache)) == folder
    assert "HF_HUB_OFFLINE forbids" in told(HubId("org/other", None), cache)
    assert "'org/model' at 'v9' is not in the cache" in told(HubId(NAME, "v9"), cache)
    assert hub.asked == []


def test_an_unknown_model_or_revision(hub: FakeHub, model: Repository, cache: Path) -> None:
    assert "no model 'org/other' at http://127.0.0.1" in told(HubId("org/other", None), cache)
    fetched(MAIN, str(cache))
    assert "'org/model' has no revision 'v9' at" in told(HubId(NAME, "v9"), cache)


def test_a_branch_a_tag_and_a_commit(hub: FakeHub, model: Repository, cache: Path) -> None:
    other = model.commit({**FILES, "chat_template.jinja": b"other"}, branch="refs/pr/1")
    assert fetched(HubId(NAME, "refs/pr/1"), str(cache)).name == other
    assert fetched(HubId(NAME, other), str(cache)).name == other
    assert fetched(MAIN, str(cache)).name == model.branches["main"]


def test_gated(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.readers = {"good"}
    assert f"is gated: ask for access at {hub.url}/org/model, then set HF_TOKEN" in told(
        MAIN, cache
    )
    monkeypatch.setenv("HF_TOKEN", "bad")
    assert "the token in use may not read it" in told(MAIN, cache)
    monkeypatch.setenv("HF_TOKEN", "good")
    assert (fetched(MAIN, str(cache)) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "pickled PyTorch weights"),
        ({"a.gguf": b"GGUF", "b.gguf": b"GGUF"}, "several GGUF files"),
        ({"model.safetensors": b"x"}, "it has no config.json"),
        ({"config.json": b"{}", "consolidated.safetensors": b"x"}, "has no weights that are read"),
    ],
)
def test_what_is_no_checkpoint_is_said_before_anything_is_fetched(
    hub: FakeHub, cache: Path, files: dict[str, bytes], words: str
) -> None:
    hub.add(NAME, files)
    assert words in told(MAIN, cache)
    assert hub.fetched() == []
    assert not cache.exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"config.json": b'{"model_type": "x", "quantization_config": {"quant_method": "hqq"}}'},
            "quantised (hqq)",
        ),
        ({"tokenizer.json": b"[]"}, "tokenizer.json"),
        ({"config.json": b"{}"}, "model_type is missing"),
    ],
)
def test_what_no_engine_starts_from_is_said_before_its_weights_are_fetched(
    hub: FakeHub, cache: Path, files: dict[str, bytes], words: str
) -> None:
    hub.add(NAME, {**FILES, **files})
    assert words in told(MAIN, cache)
    assert "model.safetensors" not in hub.fetched()


def test_only_what_an_engine_reads_is_fetched(hub: FakeHub, cache: Path) -> None:
    read = {
        **{
            f"{name}.json": name.encode()
            for name in ("preprocessor_config", "processor_config", "tekken", "vocab")
        },
        "config.json": b'{"model_type": "x"}',
        "generation_config.json": b"{}",
        "tokenizer.json": b'{"model": {}}',
        **{
            name: name.encode()
            for name in (
                "tokenizer.model",
                "merges.txt",
                "chat_template.jinja",
                "added_tokens.json",
            )
        },
        "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors", '
        b'"b": "model-2.safetensors"}}',
        "model-1.safetensors": weights(10),
        "model-2.safetensors": weights(20),
    }
    other = [
        "README.md", ".gitattributes", "LICENSE.txt", "modeling_x.py", "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "consolidated.safetensors", "consolidated.safetensors.index.json", "model.safetensors",
        "model.fp16.safetensors",
        "original/model.safetensors", "onnx/config.json", "../../evil.json", "/etc/evil.json",
        "sub/vocab.json", "a\nb.json",
        "optimizer.pt", "training_args.bin", "trainer_state.json", "model.gguf", ".hidden.json",
        "weird\\name.json",
    ]  # fmt: skip
    hub.add(NAME, {**read, **dict.fromkeys(other, b"no")})
    assert {path.name for path in fetched(MAIN, str(cache)).iterdir()} == set(read)
    assert sorted(hub.fetched()) == sorted(read)


def test_an_index_that_names_what_is_not_there(hub: FakeHub, cache: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "../../../etc/passwd"}}
    hub.add(
        NAME,
        {
            **FILES,
            "model.safetensors.index.json": json.dumps(index).encode(),
            "model-1.safetensors": weights(9),
        },
    )
    assert "lacks '../../../etc/passwd', which its index names" in told(MAIN, cache)


@pytest.mark.parametrize(
    "sent", [FILES["model.safetensors"][:-1] + b"!", FILES["model.safetensors"] + b"more"]
)
def test_what_is_not_what_the_hub_describes_is_not_taken(
    hub: FakeHub, model: Repository, cache: Path, sent: bytes
) -> None:
    hub.tampered["model.safetensors"] = sent
    assert "model.safetensors of 'org/model' did not come as the hub describes it" in told(
        MAIN, cache
    )
    hub.tampered.clear()
    assert (fetched(MAIN, str(cache)) / "model.safetensors").read_bytes() == FILES[
        "model.safetensors"
    ]


def test_a_mirror_that_lists_names_alone(hub: FakeHub, model: Repository, cache: Path) -> None:
    hub.names_alone = True
    assert {path.name for path in fetched(MAIN, str(cache)).iterdir()} == set(FILES)


def test_no_room_is_said_before_the_first_byte(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        f_bavail, f_frsize = 20, 4096

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    assert "it takes 320.1 kB, and" in told(MAIN, cache)
    assert "has 81.9 kB left; free some, or give another folder with --download-dir" in told(
        MAIN, cache
    )
    assert hub.fetched() == []


def test_a_cache_that_cannot_be_written_to(hub: FakeHub, model: Repository, cache: Path) -> None:
    cache.write_text("a file")
    assert "cannot be used (Not a directory)" in told(MAIN, cache)


def test_a_file_that_leads_out_of_the_cache_is_refused(
    hub: FakeHub, model: Repository, cache: Path, tmp_path: Path
) -> None:
    folder = fetched(MAIN, str(cache))
    (tmp_path / "secret.json").write_text("{}")
    (folder / "processor_config.json").symlink_to(tmp_path / "secret.json")
    assert "leads out of the cache" in told(MAIN, cache)


def test_a_model_that_its_owner_keeps_on_another_disk_is_taken(
    hub: FakeHub, model: Repository, cache: Path, tmp_path: Path
) -> None:
    folder = fetched(MAIN, str(cache))
    (cache / "models--org--model").rename(tmp_path / "elsewhere")
    (cache / "models--org--model").symlink_to(tmp_path / "elsewhere")
    assert fetched(MAIN, str(cache)) == folder


def test_what_others_have_fetched_in_part_is_completed(
    hub: FakeHub, model: Repository, cache: Path
) -> None:
    folder = fetched(MAIN, str(cache))
    (folder / "chat_template.jinja").unlink()
    hub.asked.clear()
    assert fetched(MAIN, str(cache)) == folder
    assert (folder / "chat_template.jinja").read_bytes() == FILES["chat_template.jinja"]
    assert hub.fetched() == [], "its content is still among the blobs"


def test_two_starts_at_once_fetch_it_once(hub: FakeHub, model: Repository, cache: Path) -> None:
    hub.seconds_per_chunk = 0.02
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetched(MAIN, str(cache)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert hub.fetched().count("model.safetensors") == 1


def largest(cache: Path) -> int:
    """Bytes of the largest file that is not whole yet."""
    size = 0
    for file in cache.rglob("*.incomplete"):
        with contextlib.suppress(FileNotFoundError):  # it became whole
            size = max(size, file.stat().st_size)
    return size


def test_a_fetch_that_is_stopped_ends_soon_and_is_gone_on_with(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.seconds_per_chunk = 0.2
    stop = threading.Event()

    def stop_it_half_way() -> None:
        while "model.safetensors" not in hub.fetched() or largest(cache) < 1 << 16:
            time.sleep(0.02)
        stop.set()

    half_way = threading.Thread(target=stop_it_half_way)
    half_way.start()
    with pytest.raises(Stopped):
        fetched(MAIN, str(cache), stop)
    half_way.join()
    hub.seconds_per_chunk = 0
    hub.asked.clear()
    fetched(MAIN, str(cache))
    assert (hub.asked[-1].range or "").startswith("bytes=")


def test_the_configuration_names_the_folder_and_keeps_the_id(
    hub: FakeHub, model: Repository, cache: Path
) -> None:
    config = located(EngineConfig(model=NAME, revision="main", download_dir=str(cache), seed=7))
    assert Path(config.model).name == model.branches["main"]
    assert (config.name, config.seed, config.revision) == (NAME, 7, None)
    assert located(config) is config, "a folder is taken as it is"


def test_the_commit_is_part_of_the_fingerprint(
    hub: FakeHub, model: Repository, cache: Path, tmp_path: Path
) -> None:
    first = fetched(MAIN, str(cache))
    model.commit({**FILES, "README.md": b"more"})
    second = fetched(MAIN, str(cache))
    copy = shutil.copytree(first, tmp_path / "copy")
    assert len({fingerprint(first), fingerprint(second), fingerprint(copy)}) == 3


def test_HF_TOKEN_is_sent_to_the_hub_and_to_no_other(
    hub: FakeHub, model: Repository, cache: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    with FakeHub() as store:
        store.add(NAME, FILES)
        hub.moved_to = store.url
        fetched(MAIN, str(cache))
        assert {asked.token for asked in hub.asked} == {"secret"}
        assert {asked.token for asked in store.asked} == {None}
        assert len(store.asked) == len(FILES)
