"""Phi-3.5-vision and Phi-3-vision (`phi3_v`): Phi-3, and CLIP over the tiles of a picture.

A picture is scaled to at most `num_crops` square tiles and padded; the tiles, and the whole picture
as one more, go through CLIP. Patches are merged two by two; one learned row ends each line of the
tiles' grid, another stands between the grid and the whole picture. A prompt calls its pictures
`<|image_1|>`, `<|image_2|>`, which are no tokens: the texts between them are tokenized each for
itself.
"""

import math
from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import BatchFeature, CLIPVisionConfig, CLIPVisionModel, Phi3Config, Phi3Model
from transformers.image_processing_backends import PilBackend
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import ImagesKwargs, MultiModalData
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from .base import Answering, Body, OwnProcessor, of_body

MERGE = 2
"""Patches of a side that make one row."""
LARGE_336 = {
    "hidden_act": "quick_gelu",
    "hidden_size": 1024,
    "image_size": 336,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "projection_dim": 768,
}
"""CLIP's ViT-L/14 at 336 pixels, which published files name and do not describe."""
_BUILT = {
    "use_hd_transform": True,
    "with_learnable_separator": True,
    "hd_transform_order": "sub_glb",
    "projection_cls": "mlp",
}
"""What the files say of how rows are made."""


@strict
class Phi3VConfig(Phi3Config):
    """`vision_config`: CLIP's own, of a checkpoint with another tower than the published ones."""

    model_type = "phi3_v"

    vision_config: Any = None
    img_processor: dict[str, Any] | None = None
    embd_layer: dict[str, Any] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.vision_config, CLIPVisionConfig):
            self.vision_config = CLIPVisionConfig(**{**LARGE_336, **(self.vision_config or {})})
        stated = self.img_processor or {}
        self.img_processor = {"layer_idx": -2, "type_feature": "patch", **stated}
        rows = (self.embd_layer or {}).items()
        is_built = all(_BUILT.get(name, value) == value for name, value in rows)
        if not is_built or self.img_processor["type_feature"] != "patch":
            raise ValueError(
                f"embd_layer={self.embd_layer}, img_processor={self.img_processor} are of a kind "
                f"that is not built"
            )
        rope = kwargs.get("rope_scaling")
        # Its first name; whoever loads a tokenizer reads the file itself.
        if isinstance(rope, dict) and rope.get("type") == "su":
            kwargs["rope_scaling"] = {**rope, "type": "longrope", "rope_type": "longrope"}
        super().__post_init__(**kwargs)


class TileEmbedding(nn.Module):
    """From tiles to rows, under the names that the weights have."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__()
        vision: Any = CLIPVisionConfig.from_dict(config.vision_config.to_dict())
        assert config.img_processor is not None
        layer = int(config.img_processor["layer_idx"])
        vision.num_hidden_layers = layer if layer >= 0 else vision.num_hidden_layers + 1 + layer
        self.img_processor = CLIPVisionModel(vision)
        merged = MERGE**2 * vision.hidden_size
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, merged))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, merged))
        width = config.hidden_size
        self.img_projection = nn.Sequential(
            nn.Linear(merged, width), nn.GELU(), nn.Linear(width, width)
        )
        self.tile = int(vision.image_size)

    def forward(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> list[torch.Tensor]:
        """`pixel_values` [pictures, 1 + tiles, 3, tile, tile], the whole picture first;
        `image_sizes` [pictures, 2]: height and width of the tiles together. [rows, hidden] of each
        picture."""
        return [self._one(*one) for one in zip(pixel_values, image_sizes.tolist(), strict=True)]

    def _one(self, tiles: torch.Tensor, size: list[int]) -> torch.Tensor:
        rows, columns = size[0] // self.tile, size[1] // self.tile
        seen = self.img_processor(tiles[: 1 + rows * columns]).last_hidden_state[:, 1:]
        whole, grid = self._lines(seen[:1], 1, 1), self._lines(seen[1:], rows, columns)
        embeds: torch.Tensor = self.img_projection(torch.cat([grid, self.glb_GN[0], whole]))
        return embeds

    def _lines(self, patches: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """[tiles, patches, width] to lines over all tiles, [lines * (columns + 1), 4 * width]."""
        side = math.isqrt(patches.shape[1]) // MERGE
        split = patches.view(rows, columns, side, MERGE, side, MERGE, -1)
        grid = split.permute(0, 2, 1, 4, 3, 5, 6).reshape(rows * side, columns * side, -1)
        return torch.cat([grid, self.sub_GN[0].expand(rows * side, 1, -1)], dim=1).flatten(0, 1)


class Phi3VModel(Body):
    config: Phi3VConfig

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.language_model = Phi3Model(config)
        self.vision_embed_tokens = TileEmbedding(config)
        self.post_init()

    def get_image_features(
        self, pixel_values: torch.Tensor, image_sizes: torch.Tensor
    ) -> BaseModelOutputWithPooling:
        rows: Any = self.vision_embed_tokens(pixel_values, image_sizes)
        return BaseModelOutputWithPooling(pooler_output=rows)


class Phi3VForCausalLM(Answering):
    config: Phi3VConfig
    body_class = Phi3VModel
    get_image_features = of_body(Phi3VModel.get_image_features)
    _keys_to_ignore_on_load_unexpected = [r"\.wte\.", r"\.img_processor\.post_layernorm\."]  # noqa: RUF012


class Phi3VImagesKwargs(ImagesKwargs, total=False):
    num_crops: int


class Phi3VImageProcessor(PilBackend):
    """The sizes of everything follow from `num_img_tokens`, the rows of one tile without the ends
    of its lines."""

    valid_kwargs = Phi3VImagesKwargs
    model_input_names = ["pixel_values", "image_sizes"]  # noqa: RUF012
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    do_convert_rgb = True
    num_crops = 4
    num_img_tokens = 144
    patch_size = 14

    @property
    def side(self) -> int:
        """Rows in a line of one tile."""
        return math.isqrt(self.num_img_tokens)

    @property
    def tile(self) -> int:
        """Pixels."""
        return self.side * MERGE * self.patch_size

    def _preprocess(  # type: ignore[override]  # called by keywords
        self,
        images: list[NDArray[np.uint8]],
        num_crops: int,
        image_mean: list[float],
        image_std: list[float],
        return_tensors: Any = None,
        **_: Any,
    ) -> BatchFeature:
        """`images`: [3, height, width] each. Pictures with fewer tiles than others are filled up
        with zeros."""
        made = [self._tiles(image, num_crops, image_mean, image_std) for image in images]
        pixels = nn.utils.rnn.pad_sequence([tiles for tiles, _ in made], batch_first=True)
        sizes = torch.tensor([size for _, size in made])
        return BatchFeature({"pixel_values": pixels, "image_sizes": sizes})

    def _tiles(
        self, image: NDArray[np.uint8], crops: int, mean: Any, std: Any
    ) -> tuple[torch.Tensor, tuple[int, int]]:
        """[1 + tiles, 3, tile, tile], and the height and width of the tiles together. A tall
        picture lies on its side while it is resized, which is not quite the same."""
        height, width = image.shape[1:]
        axes = (2, 1, 0) if width < height else (1, 2, 0)
        short, padded, long = self._fitting(height, width, crops)
        upright = Image.fromarray(image.transpose(axes))
        resized = upright.resize((long, short), Image.Resampling.BILINEAR)
        canvas = np.full((padded, long, 3), 255, np.uint8)
        above = (padded - short) // 2
        canvas[above : above + short] = np.asarray(resized)
        pixels = torch.from_numpy(canvas.transpose(np.argsort(axes))).float() / 255
        pixels = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        whole = F.interpolate(pixels[None], (self.tile, self.tile), mode="bicubic")
        outer = (pixels.shape[1], pixels.shape[2])
        rows, columns = outer[0] // self.tile, outer[1] // self.tile
        grid = pixels.reshape(3, rows, self.tile, columns, self.tile).permute(1, 3, 0, 2, 4)
        return torch.cat([whole, grid.reshape(-1, 3, self.tile, self.tile)]), outer

    def _fitting(self, height: int, width: int, crops: int) -> tuple[int, int, int]:
        """(short side, the same padded, long side) that a picture is brought to. Raises ValueError
        where nothing would be left of it."""
        ratio = max(height, width) / min(height, width)
        scale = 0
        while (scale + 1) * math.ceil((scale + 1) / ratio) <= crops:
            scale += 1
        long = scale * self.tile
        short = int(long / ratio)
        if not short:
            what = f"a picture of {width}x{height} pixels in {crops} tiles"
            raise ValueError(f"nothing is left of {what}")
        return short, -(-short // self.tile) * self.tile, long

    def padded(self, height: int, width: int, crops: int) -> tuple[int, int]:
        """Height and width of a picture's tiles together."""
        _, short, long = self._fitting(height, width, crops)
        return (long, short) if width < height else (short, long)

    def rows(self, height: int, width: int) -> int:
        """Of a picture whose tiles are together so large."""
        lines, columns = height // self.tile * self.side, width // self.tile * self.side
        return lines * (columns + 1) + 1 + self.side * (self.side + 1)


class Phi3VProcessor(OwnProcessor):
    """Names every picture `<|image|>`, which is also what stands for a row."""

    image_processor: Phi3VImageProcessor

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None
    ) -> None:
        self.image_token = "<|image|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        height, width = image_inputs["image_sizes"][image_idx].tolist()
        return self.image_token * self.image_processor.rows(height, width)

    def _get_num_multimodal_tokens(
        self, image_sizes: Any = None, images_kwargs: Any = None, **_: Any
    ) -> MultiModalData:
        pictures = self.image_processor
        crops = (images_kwargs or {}).get("num_crops") or pictures.num_crops
        padded = [pictures.padded(height, width, crops) for height, width in image_sizes or ()]
        return MultiModalData(num_image_tokens=[pictures.rows(*size) for size in padded])


CLASSES = (Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor)
