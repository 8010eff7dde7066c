"""Ultravox: sounds of any length against a processor in a straight line, and where the parts of its
weights come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.inspection.hf import build_on_meta
from thespis.gpu_runtime.models.encoder import load_encoder
from thespis.gpu_runtime.processing import load
from thespis.gpu_runtime.weights.checkpoint import Checkpoint
from thespis.protocol.errors import EngineError
from thespis.tests.helpers.reference import Media
from thespis.tests.zoo.catalog import Zoo, build
from thespis.tests.zoo.own.ultravox import Processor
from thespis.tests.zoo.reference import reference_for

from ..processing.conversations import sound
from .rewriting import rewritten

PLAIN = (torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("length", [7, 400, 16_000, 41_234, 480_000, 480_001, 1_100_000])
def test_sounds_of_any_length_have_the_rows_of_their_pieces(length: int, zoo: Zoo) -> None:
    folder = zoo("ultravox_whole")
    samples = sound(length)
    theirs = Processor(folder).pieces(np.pad(samples, (0, max(0, 320 - length))))
    made = load(folder).item("audio", samples, {})
    (part,) = made.parts
    assert part.tensors["audio_lens"].tolist() == [heard for _, heard in theirs]
    for one, (other, _) in zip(part.tensors["input_features"], theirs, strict=True):
        assert np.array_equal(one, other.numpy())
    assert (made.text, made.rows) == ("<|audio|>", sum(-(-heard // 4) for _, heard in theirs))


def test_pieces_of_a_long_sound_are_heard_each_by_itself(zoo: Zoo) -> None:
    """The last one ends in silence that is masked."""
    folder = zoo("ultravox_whole")
    (part,) = load(folder).item("audio", sound(600_000), {}).parts
    encoder = load_encoder(model_facts(folder), "float32", "cpu", 1)
    (rows,) = encoder.encode(
        "audio",
        [{name: torch.from_numpy(value) for name, value in part.tensors.items()}],
        [part.rows],
    )
    reference = reference_for("ultravox_whole", folder)
    with torch.inference_mode():
        pieces = reference.inputs("<|audio|>", Media(audio=(sound(600_000),)))["pieces"]
        expected = torch.cat([reference.model.rows(*piece) for piece in pieces])
    assert torch.allclose(rows, expected, atol=1e-5)


def test_the_text_model_of_a_second_folder_is_the_same_model(zoo: Zoo) -> None:
    whole, parted = model_facts(zoo("ultravox_whole")), model_facts(zoo("ultravox"))
    assert (parted.layers, parted.vocab, parted.tied, parted.eos_token_ids) == (
        3,
        whole.vocab,
        True,
        whole.eos_token_ids,
    )
    assert parted.placeholders["audio"].embed_token_id == whole.vocab  # behind the table
    found, wanted = (
        Checkpoint(str(folder), build_on_meta(folder))
        for folder in (zoo("ultravox"), zoo("ultravox_whole"))
    )
    for name, weight in build_on_meta(zoo("ultravox")).state_dict().items():
        one, other = (
            each.read(name, weight.shape, torch.float32, torch.device("cpu"))
            for each in (found, wanted)
        )
        assert torch.equal(one, other)


def test_an_encoder_of_another_model_is_read_too(tmp_path: Path) -> None:
    """As Whisper's own checkpoints store it, beside a decoder that nobody wants."""
    from safetensors.torch import load_file, save_file

    folder = build("ultravox_whole", tmp_path / "vox")
    before = Checkpoint(str(folder), build_on_meta(folder)).read(
        "model.audio_tower.conv1.bias", torch.Size([32]), *PLAIN
    )
    weights, config = (
        load_file(folder / "model.safetensors"),
        json.loads((folder / "config.json").read_text()),
    )
    theirs = {
        f"model.encoder.{name[12:]}": weights.pop(name)
        for name in list(weights)
        if name.startswith("audio_tower.")
    }
    save_file(weights, folder / "model.safetensors")
    (tmp_path / "whisper").mkdir()
    save_file(
        {**theirs, "model.decoder.embed_tokens.weight": torch.zeros(3, 3)},
        tmp_path / "whisper" / "model.safetensors",
    )
    (tmp_path / "whisper" / "config.json").write_text(json.dumps(config["audio_config"]))
    rewritten(folder, "config.json", audio_config=None, audio_model_id=str(tmp_path / "whisper"))
    assert model_facts(folder).placeholders["audio"].token == "<|audio|>"
    after = Checkpoint(str(folder), build_on_meta(folder)).read(
        "model.audio_tower.conv1.bias", torch.Size([32]), *PLAIN
    )
    assert torch.equal(before, after)


def test_older_projectors_norm_their_rows(tmp_path: Path) -> None:
    folder = rewritten(build("ultravox_whole", tmp_path), "config.json", projector_ln_mid=False)
    model: Any = build_on_meta(folder)
    names = {name for name, _ in model.model.multi_modal_projector.named_parameters()}
    assert names == {"ln_pre.weight", "linear_1.weight", "linear_2.weight", "ln_post.weight"}
    assert model.model.multi_modal_projector.ln_post.weight.shape == (64,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audio_latency_block_size": 100}, "audio_latency_block_size"),
        ({"num_projector_layers": 2}, "num_projector_layers"),
        ({"text_model_id": 5}, "text_model_id=5 names no model"),
        (
            {"text_model_id": "org/none"},
            "thespis pull org/none, or write the path of its folder there",
        ),
        ({"text_model_id": "no model"}, "which is no id of a model"),
    ],
)
def test_what_is_not_there_is_said(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=words):
        model_facts(rewritten(build("ultravox", tmp_path), "config.json", **changes))


def test_a_half_copied_companion_is_no_model(tmp_path: Path) -> None:
    folder = build("ultravox", tmp_path)
    (folder / "text" / "model.safetensors").unlink()
    with pytest.raises(EngineError, match=r"'.*text' holds no \*\.safetensors weights"):
        model_facts(folder)
