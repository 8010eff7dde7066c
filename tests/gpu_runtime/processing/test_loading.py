"""Folders as they are published, and what is said of those that are not whole."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing import load
from thespis.gpu_runtime.processing.loading import load_processor
from thespis.protocol.errors import EngineError, RequestError
from thespis.tests.zoo.catalog import Zoo, build

from .families import write

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def rewritten(folder: Path, name: str, **changes: Any) -> Path:
    """The folder with fields of one file changed; None leaves a field out."""
    file = folder / name
    said = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return folder


def parts_of(folder: Path) -> Any:
    return load_processor(folder, hf.load_config(folder))


@pytest.mark.parametrize(
    "name", ["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil"]
)
def test_pictures_are_pillows_whatever_the_folder_calls_their_class(
    name: str, tmp_path: Path
) -> None:
    folder = rewritten(
        build("qwen2_vl", tmp_path), "preprocessor_config.json", image_processor_type=name
    )
    assert type(parts_of(folder).image_processor).__name__ == "Qwen2VLImageProcessorPil"


@pytest.mark.parametrize(
    "name", ["CLIPFeatureExtractor", "NoSuchImageProcessor", "GenerationConfig"]
)
def test_a_class_that_is_gone_or_makes_no_features_is_named_at_the_start(
    name: str, tmp_path: Path
) -> None:
    folder = rewritten(
        build("llava", tmp_path), "preprocessor_config.json", image_processor_type=name
    )
    with pytest.raises(EngineError, match=name):
        load(folder)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (
            "llava",
            {"size": {"shortest_edge": 10**7}, "crop_size": {"height": 10**7, "width": 10**7}},
        ),
        ("llava", {"crop_size": {"height": 10**6, "width": 10**6}}),
        ("llava", {"size": {"height": 10**6, "width": 10**6}}),
        ("qwen2_vl", {"min_pixels": 10**12, "max_pixels": 10**12}),
    ],
)
def test_a_size_that_no_memory_holds_is_refused_before_it_is_tried(
    name: str, changes: Any, tmp_path: Path
) -> None:
    folder = rewritten(build(name, tmp_path), "preprocessor_config.json", **changes)
    with pytest.raises(EngineError, match=r"=10+, which is beyond all measure"):
        load(folder)


@pytest.mark.parametrize("number", [-1, 10**20])
def test_a_number_that_is_no_token_id_counts_as_left_out(number: int, tmp_path: Path) -> None:
    stated = load(build("llava", tmp_path)).placeholders()["image"]
    folder = rewritten(tmp_path, "config.json", image_token_index=number)
    assert load(folder).placeholders()["image"] == stated


def test_a_processor_of_the_checkpoints_own_code_is_refused(tmp_path: Path) -> None:
    folder = rewritten(
        build("llava", tmp_path), "processor_config.json", processor_class="OwnProcessor"
    )
    with pytest.raises(EngineError, match="OwnProcessor"):
        load(folder)


def test_a_class_that_is_no_processor_leaves_it_to_the_type(tmp_path: Path) -> None:
    """Some folders name their tokenizer or their image processor there: the model is not one of
    text alone for that."""
    folder = rewritten(
        build("llava", tmp_path), "processor_config.json", processor_class="LlamaTokenizer"
    )
    assert type(parts_of(folder)).__name__ == "LlavaProcessor"


@pytest.mark.parametrize("named", ["Qwen2Tokenizer", None])
def test_a_model_of_more_than_text_without_a_processor_is_refused(
    named: str | None, tmp_path: Path
) -> None:
    """Of a type that has none in transformers' table: it would be served without its towers, and
    nobody told."""
    folder = build("glm_ocr", tmp_path)
    for file in ("preprocessor_config.json", "tokenizer_config.json"):
        rewritten(folder, file, processor_class=named)
    with pytest.raises(EngineError, match=r"models of type 'glm_ocr' take more than text"):
        load(folder)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = build("llava", tmp_path)
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(EngineError, match=r"preprocessor_config\.json"):
        load(folder)


def test_a_second_model_for_sounds_is_not_fetched(tmp_path: Path) -> None:
    folder = build("qwen2_audio", tmp_path)
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "processor_class": "Qwen2AudioProcessor",
                "audio_tokenizer": {"audio_tokenizer_name_or_path": "org/name"},
            }
        )
    )
    with pytest.raises(EngineError, match="second model"):
        load(folder)


def test_bounds_stand_at_the_top_or_in_size(tmp_path: Path) -> None:
    folder = build("qwen2_vl", tmp_path)
    rewritten(folder, "preprocessor_config.json", min_pixels=6272, max_pixels=50176, size=None)
    assert load(folder).pixel_range("image") == (6272, 50176)
    size = {"shortest_edge": 3136, "longest_edge": 12544}
    rewritten(folder, "preprocessor_config.json", min_pixels=None, max_pixels=None, size=size)
    assert load(folder).pixel_range("image") == (3136, 12544)


def test_without_a_file_for_clips_transformers_bounds_hold(tmp_path: Path) -> None:
    """The one file for pictures has them for clips too; of a class that has its own for clips,
    those do."""
    folder = build("qwen2_vl", tmp_path)
    assert not (folder / "video_preprocessor_config.json").exists()
    assert load(folder).pixel_range("video") == load(folder).pixel_range("image")
    assert load(build("qwen2_5_omni", tmp_path / "omni")).pixel_range("video") == (
        128 * 28 * 28,
        768 * 28 * 28,
    )


def test_what_the_folder_says_of_clips_goes_before_the_class(tmp_path: Path) -> None:
    folder = build("qwen2_5_omni", tmp_path)
    own = {
        "size": {"shortest_edge": 3136, "longest_edge": 6272},
        "video_processor_type": "Qwen2VLVideoProcessor",
    }
    (folder / "video_preprocessor_config.json").write_text(json.dumps(own))
    assert load(folder).pixel_range("video") == (3136, 6272)


def test_what_older_folders_leave_to_the_configuration_is_taken_from_there(tmp_path: Path) -> None:
    folder = build("llava", tmp_path)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "LlavaProcessor"}))
    processor = parts_of(folder)
    assert (processor.patch_size, processor.vision_feature_select_strategy) == (14, "default")
    assert processor.num_additional_image_tokens == 1


def test_nulls_are_the_classes_defaults(tmp_path: Path) -> None:
    folder = write("gemma3", tmp_path)
    said = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    nulls = (
        "do_convert_rgb",
        "do_pan_and_scan",
        "pan_and_scan_max_num_crops",
        "pan_and_scan_min_crop_size",
    )
    rewritten(folder, "processor_config.json", image_processor={**said, **dict.fromkeys(nulls)})
    assert load(folder).placeholders()["image"].embed_token == "<image_soft_token>"


def test_a_model_of_text_alone_takes_nothing_else(zoo: Zoo) -> None:
    ours = load(zoo("llama"))
    assert ours.placeholders() == {}
    assert not ours.hears_clips
    assert ours.options("image") == frozenset()
    assert ours.pixel_range("image") is None


def test_marks_are_the_special_tokens_that_the_template_writes_around_an_item(zoo: Zoo) -> None:
    found = {
        name: {kind: facts.text for kind, facts in load(zoo(name)).placeholders().items()}
        for name in MARKED
    }
    assert found == MARKED


MARKED = {
    "llava": {"image": "<image>"},
    "pixtral": {"image": "[IMG]"},
    "qwen2_audio": {"audio": "<|audio_bos|><|AUDIO|><|audio_eos|>"},
    "qwen3_asr": {"audio": "<|audio_start|><|audio_pad|><|audio_end|>"},
    "glm4v": {
        "image": "<|begin_of_image|><|image|><|end_of_image|>",
        "video": "<|begin_of_video|><|video|><|end_of_video|>",
    },
    "qwen2_5_omni": {
        "image": "<|vision_bos|><|IMAGE|><|vision_eos|>",
        "video": "<|vision_bos|><|VIDEO|><|vision_eos|>",
        "audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
    },
}


@pytest.mark.parametrize("name", ["phi4_multimodal", "granite_speech"])
def test_a_sound_shorter_than_one_window_is_the_callers(name: str, tmp_path: Path) -> None:
    """What torch says of shapes, too, is said of the item."""
    processor = load(build(name, tmp_path))
    with pytest.raises(RequestError, match="does not take this audio"):
        processor.item("audio", np.zeros(160, np.float32), {})
