"""MiniCPM-V 2.6 (`minicpmv`): Qwen2, and SigLIP over a picture and its slices, each of which a
resampler makes 64 rows of.

A picture of more pixels than one slice has is shown whole, scaled down, and cut into up to nine
slices in the grid that fits its shape best. Its text is `<image>` rows `</image>`, then `<slice>`
rows `</slice>` for each slice, a line for each row of the grid, and before all of it `<image_id>`
with its number. The frames of a clip are pictures without numbers.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from transformers import (
    BatchFeature,
    Idefics2VisionConfig,
    Qwen2Config,
    Qwen2Model,
    TokenizersBackend,
)
from transformers.image_processing_backends import PilBackend
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionTransformer
from transformers.processing_utils import ImagesKwargs, MultiModalData, VideosKwargs
from transformers.video_processing_utils import VideoProcessorMixin
from transformers.video_utils import VideoMetadata

from .base import Answering, Body, OwnProcessor, of_body
from .slicing import Slicing

VERSION = 2.6
HEAD_DIM = 128
"""Of the resampler's attention."""


@strict
class MiniCPMVConfig(Qwen2Config):
    model_type = "minicpmv"

    vision_config: Any = None
    query_num: int = 64
    drop_vision_last_layer: bool = False
    version: float | str = VERSION

    def __post_init__(self, **kwargs: Any) -> None:
        if float(self.version) != VERSION:
            raise ValueError(f"MiniCPM-V {self.version} is not built, {VERSION} alone is")
        if not isinstance(self.vision_config, Idefics2VisionConfig):
            said = dict(self.vision_config or {})
            said.pop("model_type", None)
            self.vision_config = Idefics2VisionConfig(**said)
        super().__post_init__(**kwargs)


class Slices(Idefics2VisionTransformer):
    """SigLIP over patches, whatever shape they were cut from."""

    def __init__(self, config: MiniCPMVConfig) -> None:
        vision: Any = Idefics2VisionConfig.from_dict(config.vision_config.to_dict())
        vision.num_hidden_layers -= config.drop_vision_last_layer
        super().__init__(vision)

    def forward(self, patches: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """`patches` [slices, patches, 3, side, side] and `places` [patches] in the table of
        positions to [.., .., width]."""
        embeddings: Any = self.embeddings
        embeds = embeddings.patch_embedding(patches.flatten(0, 1)).view(*patches.shape[:2], -1)
        seen = self.encoder(
            inputs_embeds=embeds + embeddings.position_embedding(places), attention_mask=None
        )
        normed: torch.Tensor = self.post_layernorm(seen.last_hidden_state)
        return normed


def places_of(rows: int, columns: int, side: int) -> torch.Tensor:
    """[rows * columns]: where the patches of a slice lie in a table of positions for `side` by
    `side` patches."""
    edges = torch.arange(1 / side, 1.0, 1 / side)
    across = [
        torch.arange(0, 1 - 1e-6, float(1 / torch.tensor(count))) for count in (rows, columns)
    ]
    row, column = (torch.bucketize(part, edges, right=True) for part in across)
    return (row[:, None] * side + column).flatten()


class Resampler(nn.Module):
    """Learned queries that attend to the patches of one slice, under the names that the weights
    have."""

    def __init__(self, config: MiniCPMVConfig) -> None:
        super().__init__()
        width, seen = config.hidden_size, config.vision_config.hidden_size
        self.query = nn.Parameter(torch.zeros(config.query_num, width))
        self.kv_proj = nn.Identity() if width == seen else nn.Linear(seen, width, bias=False)
        self.attn = nn.MultiheadAttention(width, width // HEAD_DIM, batch_first=True)
        self.ln_q, self.ln_kv, self.ln_post = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.proj = nn.Parameter(torch.zeros(width, width))

    def forward(self, seen: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """[slices, rows * columns, vision width] to [slices, queries, width]."""
        values = self.ln_kv(self.kv_proj(seen))
        keys = values + positions_of(rows, columns, values.shape[-1]).to(values)
        queries = self.ln_q(self.query).expand(len(seen), -1, -1)
        attended = self.attn(queries, keys, values, need_weights=False)[0]
        found: torch.Tensor = self.ln_post(attended) @ self.proj
        return found


def positions_of(rows: int, columns: int, width: int) -> torch.Tensor:
    """[rows * columns, width]: sines and cosines of each patch's column, then of its row."""
    turns = 1.0 / 10000 ** (np.arange(width // 4, dtype=np.float32) / (width / 4))
    column, row = (np.outer(np.arange(count, dtype=np.float32), turns) for count in (columns, rows))
    across = np.concatenate([np.sin(column), np.cos(column)], axis=1)
    down = np.concatenate([np.sin(row), np.cos(row)], axis=1)
    grid = np.concatenate([np.tile(across, (rows, 1)), np.repeat(down, columns, axis=0)], axis=1)
    return torch.from_numpy(grid.astype(np.float32))


class MiniCPMVModel(Body):
    config: MiniCPMVConfig

    def __init__(self, config: MiniCPMVConfig) -> None:
        super().__init__(config)
        self.language_model = Qwen2Model(config)
        self.vpm = Slices(config)
        self.resampler = Resampler(config)
        self.post_init()

    def get_image_features(
        self, pixel_values: torch.Tensor, tgt_sizes: torch.Tensor
    ) -> BaseModelOutputWithPooling:
        """`pixel_values` [patches, 3, side, side] of one slice after the other; `tgt_sizes`
        [slices, 2]: rows and columns of patches. Neighbours of one size go together."""
        made: list[torch.Tensor] = []
        sizes: list[list[int]] = tgt_sizes.tolist()
        vision: Any = self.vpm.config
        side = vision.image_size // vision.patch_size
        start = 0
        for (rows, columns), alike in groupby(sizes):
            count = len(list(alike))
            end = start + count * rows * columns
            patches = pixel_values[start:end].view(count, rows * columns, *pixel_values.shape[1:])
            seen = self.vpm(patches, places_of(rows, columns, side).to(pixel_values.device))
            made.append(self.resampler(seen, rows, columns).flatten(0, 1))
            start = end
        rows_of_all: Any = torch.cat(made)
        return BaseModelOutputWithPooling(pooler_output=rows_of_all)


class MiniCPMV(Answering):
    config: MiniCPMVConfig
    body_class = MiniCPMVModel
    get_image_features = of_body(MiniCPMVModel.get_image_features)


class MiniCPMVImagesKwargs(ImagesKwargs, total=False):
    max_slice_nums: int


class MiniCPMVImageProcessor(PilBackend):
    valid_kwargs = MiniCPMVImagesKwargs
    model_input_names = ["pixel_values", "tgt_sizes"]  # noqa: RUF012
    do_convert_rgb = True
    norm_mean = (0.5, 0.5, 0.5)
    norm_std = (0.5, 0.5, 0.5)
    max_slice_nums = 9
    scale_resolution = 448
    patch_size = 14
    image_feature_size = 64
    slice_mode = True
    use_image_id = True
    im_start, im_end = "<image>", "</image>"
    slice_start, slice_end = "<slice>", "</slice>"
    unk = "<unk>"

    def __init__(self, **said: Any) -> None:
        super().__init__(**said)
        for name, value in said.items():
            setattr(self, name, value)
        if not (self.slice_mode and self.use_image_id):
            what = "pictures without slices or numbers (slice_mode, use_image_id)"
            raise ValueError(f"{what} are not built")

    @property
    def slicing(self) -> Slicing:
        return Slicing(self.scale_resolution, self.patch_size)

    def _preprocess(  # type: ignore[override]  # called by keywords
        self,
        images: list[NDArray[np.uint8]],
        max_slice_nums: int,
        return_tensors: Any = None,
        **_: Any,
    ) -> BatchFeature:
        """`images`: [3, height, width] each."""
        pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        slices = [one for each in pictures for one in self.slicing.cut(each, max_slice_nums)]
        side = self.patch_size
        sizes = torch.tensor([(one.height // side, one.width // side) for one in slices])
        grids = [self.slicing.grid(each.height, each.width, max_slice_nums) for each in pictures]
        pixels = torch.cat([self._patches(one) for one in slices])
        return BatchFeature({"pixel_values": pixels, "tgt_sizes": sizes, "grids": grids})

    def _patches(self, image: Image.Image) -> torch.Tensor:
        """[patches, 3, side, side], row by row."""
        mean, std = np.array(self.norm_mean, np.float32), np.array(self.norm_std, np.float32)
        pixels = torch.from_numpy((np.asarray(image).astype(np.float32) / 255 - mean) / std)
        side = self.patch_size
        cut = pixels.unfold(0, side, side).unfold(1, side, side)  # [rows, columns, 3, side, side]
        return cut.flatten(0, 1).contiguous()

    def text(self, grid: tuple[int, int] | None) -> str:
        """What stands for a picture, with one token a row."""
        rows = self.unk * self.image_feature_size
        columns, lines = grid or (0, 0)
        line = f"{self.slice_start}{rows}{self.slice_end}" * columns
        return f"{self.im_start}{rows}{self.im_end}" + "\n".join([line] * lines)


class MiniCPMVVideosKwargs(VideosKwargs, total=False):
    max_slice_nums: int
    max_frames: int


class MiniCPMVVideoProcessor(VideoProcessorMixin):
    """One frame a second, at most 64 of them, each of which may have two slices."""

    valid_kwargs = MiniCPMVVideosKwargs
    do_sample_frames = True
    fps = 1
    max_frames = 64
    max_slice_nums = 2

    def __init__(self, **said: Any) -> None:
        """`said`: of pictures and clips alike, but for the number of slices."""
        others = dict(said)
        others.pop("max_slice_nums", None)
        super().__init__(**others)
        self.of_pictures = said

    def sample_frames(
        self,
        metadata: VideoMetadata,
        fps: float | None = None,
        max_frames: int | None = None,
        **_: Any,
    ) -> list[int]:
        total, most = metadata.total_num_frames, max_frames or self.max_frames
        step = max(1, round((metadata.fps or 1) / (fps or self.fps)))
        found = list(range(0, total, step))
        if len(found) <= most:
            return found
        gap = len(found) / most
        return [found[int(place * gap + gap / 2)] for place in range(most)]

    def __call__(  # type: ignore[override]
        self, videos: Any, max_slice_nums: int | None = None, **_: Any
    ) -> BatchFeature:
        """The only clip [frames, height, width, 3] in the list."""
        (frames,) = videos
        pictures, most = [Image.fromarray(frame) for frame in frames], self.max_slice_nums
        processor: Any = MiniCPMVImageProcessor(**self.of_pictures)
        made: BatchFeature = processor(pictures, max_slice_nums=max_slice_nums or most)
        return made


class MiniCPMVProcessor(OwnProcessor):
    image_processor: MiniCPMVImageProcessor
    video_processor: MiniCPMVVideoProcessor

    def __init__(
        self,
        image_processor: Any = None,
        video_processor: Any = None,
        tokenizer: Any = None,
        chat_template: Any = None,
    ) -> None:
        self.image_token, self.video_token = "(<image>./</image>)", "(<video>./</video>)"
        row_id = tokenizer.convert_tokens_to_ids(image_processor.unk)
        self.image_token_id = self.video_token_id = row_id
        super().__init__(image_processor, video_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        return self.image_processor.text(image_inputs["grids"][image_idx])

    def replace_video_token(self, video_inputs: Mapping[str, Any], video_idx: int, **_: Any) -> str:
        return "\n".join(self.image_processor.text(grid) for grid in video_inputs["grids"])

    def _process_videos(self, videos: Any, **options: Any) -> tuple[BatchFeature, list[str]]:
        made = self.video_processor(videos, **options)
        return made, [self.replace_video_token(made, 0)]

    def _check_special_mm_tokens(self, *_: Any, **__: Any) -> None:
        """What names an item is not what stands for its rows."""

    def _get_num_multimodal_tokens(
        self, image_sizes: Any = None, images_kwargs: Any = None, **_: Any
    ) -> MultiModalData:
        pictures = self.image_processor
        most = (images_kwargs or {}).get("max_slice_nums") or pictures.max_slice_nums
        grid, sizes = pictures.slicing.grid, image_sizes or ()
        grids = [grid(height, width, most) or (0, 0) for height, width in sizes]
        rows = [(1 + across * down) * pictures.image_feature_size for across, down in grids]
        return MultiModalData(num_image_tokens=rows)


class MiniCPMVTokenizerFast(TokenizersBackend):
    """By its file, whatever code the folder names for it."""


CLASSES = (MiniCPMV, MiniCPMVImageProcessor, MiniCPMVProcessor, MiniCPMVVideoProcessor)
