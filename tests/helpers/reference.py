"""The oracle: what transformers itself says to one request alone, in float32, one thread, greedy.

Nothing of the engine is used here. Transformers' own processors expand the prompt; the one thing they cannot do without
torchvision, preparing a clip for the Qwen families, is written out below from their description.
"""

import copy
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from transformers import processing_utils
from transformers.image_processing_base import ImageProcessingMixin
from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl as qwen_pixels

from .media import RATE, Pixels, Sound

SAFE_GAP = 1e-3
"""Of the best logit before the second. Recomputing moves logits by up to 5e-5; below 1e-4 a difference would be a tie."""
_hf: Any = transformers
_qwen_pixels: Any = qwen_pixels
_Base: Any = ImageProcessingMixin


class Media(NamedTuple):
    """A request's raw media, each in prompt order."""

    images: tuple[Image.Image, ...] = ()
    videos: tuple[Pixels, ...] = ()
    audio: tuple[Sound, ...] = ()


NO_MEDIA = Media()


class Answer(NamedTuple):
    prompt_token_ids: list[int]
    """With every placeholder expanded."""
    token_ids: list[int]
    """The end token included, where the model said it."""
    gaps: list[float]
    """Best logit less second best, at each of `token_ids`."""

    @property
    def safe(self) -> bool:
        """No position is near a tie, so another order of the same sums must give the same tokens."""
        return min(self.gaps) >= SAFE_GAP


class Reference:
    """One checkpoint under transformers. Loading takes seconds: keep it for the session (`reference_for`)."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.tokenizer: Any = _hf.AutoTokenizer.from_pretrained(folder)
        self._processor = _processor(folder, self.tokenizer)
        loaded = _hf.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        self.model: Any = loaded.eval()

    def prompt(self, messages: list[dict[str, Any]]) -> str:
        """Conversation to text, by the checkpoint's own template."""
        text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text

    def answer(self, prompt: str, media: Media = NO_MEDIA, max_tokens: int = 12, ignore_eos: bool = False) -> Answer:
        """At most `max_tokens` greedy tokens after `prompt`, whose placeholders are not yet expanded."""
        start, made = self._generate(prompt, media, max_tokens, ignore_eos)
        best = torch.stack([step[0].float().topk(2).values for step in made.logits])
        ids = made.sequences[0].tolist()
        return Answer(ids[:start], ids[start:], (best[:, 0] - best[:, 1]).tolist())

    def logits_after(self, prompt: str, media: Media, output: Sequence[int]) -> torch.Tensor:
        """Logits [vocab] of the token that comes after `output`, which need not be what the model would have said."""

        def only(_: int, ids: torch.Tensor) -> list[int]:
            place = len(ids) - start
            return [output[place]] if place < len(output) else list(range(self.model.config.get_text_config().vocab_size))

        start = self._inputs(prompt, media)["input_ids"].shape[1]
        _, made = self._generate(prompt, media, len(output) + 1, True, prefix_allowed_tokens_fn=only)
        last: torch.Tensor = made.logits[-1][0].float()
        return last

    def _generate(self, prompt: str, media: Media, max_tokens: int, ignore_eos: bool, **more: Any) -> tuple[int, Any]:
        """The prompt's length, and what `generate` made of it."""
        inputs = self._inputs(prompt, media)
        own = self.model.generation_config
        if ignore_eos:  # a configuration handed to `generate` gets its empty fields from this one
            self.model.generation_config = copy.deepcopy(own)
            self.model.generation_config.eos_token_id = None
        try:
            with torch.inference_mode():
                made = self.model.generate(
                    **inputs,
                    max_new_tokens=max_tokens,
                    do_sample=False,
                    return_dict_in_generate=True,
                    output_logits=True,
                    **more,
                )
        finally:
            self.model.generation_config = own
        return inputs["input_ids"].shape[1], made

    def _inputs(self, prompt: str, media: Media) -> dict[str, Any]:
        if not any(media):
            return dict(self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False))
        given: dict[str, Any] = {"text": [prompt], "return_tensors": "pt"}
        if media.images:
            given["images"] = [list(media.images)]
        if media.videos:
            given["videos"] = [list(media.videos)]
        if media.audio:
            given["audio"] = list(media.audio)
            given["sampling_rate"] = RATE
        return dict(self._processor(**given))


def rope_owner(model: Any) -> Any | None:
    """The part of a whole model that has `get_rope_index`: which one it is has changed between versions of transformers."""
    return next((part for part in (model, model.model) if hasattr(part, "get_rope_index")), None)


@functools.cache
def reference_for(folder: Path) -> Reference:
    return Reference(folder)


def _processor(folder: Path, tokenizer: Any) -> Any:
    """The family's HF processor. Built by hand: its own loader asks for torchvision as soon as clips are possible."""
    family = _hf.AutoConfig.from_pretrained(folder).model_type
    if family == "llava":
        own = json.loads((folder / "processor_config.json").read_text())
        settings = {name: own[name] for name in ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens")}
        images = _hf.CLIPImageProcessorPil.from_pretrained(folder)
        return _hf.LlavaProcessor(
            image_processor=images, tokenizer=tokenizer, chat_template=tokenizer.chat_template, **settings
        )
    images = _hf.Qwen2VLImageProcessorPil.from_pretrained(folder)
    # The class that this check looks for is not exported without torchvision; its base is.
    processing_utils.MODALITY_TO_BASE_CLASS_MAPPING["video_processor"] = "ImageProcessingMixin"
    clips = ClipProcessor(_clip_settings(folder))
    parts = {"image_processor": images, "tokenizer": tokenizer, "video_processor": clips}
    if family == "qwen2_vl":
        return _hf.Qwen2VLProcessor(**parts)
    return _hf.Qwen2_5OmniProcessor(**parts, feature_extractor=_hf.AutoFeatureExtractor.from_pretrained(folder))


def _clip_settings(folder: Path) -> dict[str, Any]:
    """The checkpoint's own, from the one or the other file that published models have."""
    alone = folder / "video_preprocessor_config.json"
    if alone.exists():
        return dict(json.loads(alone.read_text()))
    return dict(json.loads((folder / "processor_config.json").read_text())["video_processor"])


class ClipProcessor(_Base):  # type: ignore[misc]
    """Qwen's clip processor without torchvision; no sampling of frames."""

    patch_size = 14
    merge_size = 2
    temporal_patch_size = 2

    def __init__(self, settings: dict[str, Any]) -> None:
        """`settings`: the checkpoint's own, as its file has them."""
        super().__init__()
        self._mean, self._std = (torch.tensor(settings[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
        self._least, self._most = settings["size"]["shortest_edge"], settings["size"]["longest_edge"]

    def __call__(self, videos: Any, **_: Any) -> Any:
        groups = [self._patches(clip) for batch in videos for clip in (batch if isinstance(batch, list) else [batch])]
        return _hf.BatchFeature(
            {
                "pixel_values_videos": torch.cat([patches for patches, _ in groups]),
                "video_grid_thw": torch.tensor([grid for _, grid in groups]),
            }
        )

    def _patches(self, clip: Pixels) -> tuple[torch.Tensor, tuple[int, int, int]]:
        """[frames, height, width, 3] to [patches, 3 * 2 * 14 * 14] and the grid in patches."""
        frames = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float()
        block = self.patch_size * self.merge_size
        height, width = _qwen_pixels.smart_resize(*clip.shape[1:3], block, self._least, self._most)
        if (height, width) != clip.shape[1:3]:
            frames = F.interpolate(frames, (height, width), mode="bicubic", antialias=True).round().clamp(0, 255)
        frames = (frames / 255 - self._mean) / self._std
        if len(frames) % 2:
            frames = torch.cat([frames, frames[-1:]])
        grid = (len(frames) // 2, height // self.patch_size, width // self.patch_size)
        cut = frames.view(grid[0], 2, 3, grid[1] // 2, 2, self.patch_size, grid[2] // 2, 2, self.patch_size)
        return cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 3 * 2 * self.patch_size**2), grid
