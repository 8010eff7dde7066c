"""Phi-3.5-vision in a straight line, from what its published files and papers say: the truth of
`phi3_v`.

Line by line and patch by patch; text model and CLIP are transformers' own. Shares nothing with the
engine.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from torch import nn

_hf: Any = transformers
Phi3Config: Any = _hf.Phi3Config
Phi3ForCausalLM: Any = _hf.Phi3ForCausalLM
IMAGE = "<|image|>"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Config(Phi3Config):  # type: ignore[misc]
    model_type = "phi3_v"
    vision_config: Any = None
    img_processor: Any = None
    embd_layer: Any = None
    image_token: int = 0
    pad_token_id: int | None = None


class Vision(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        clip = _hf.CLIPVisionConfig(**config.vision_config, hidden_act="quick_gelu")
        width = 4 * clip.hidden_size
        self.img_processor = nn.Module()
        self.img_processor.vision_model = _hf.CLIPVisionModel(clip)
        self.img_projection = nn.Sequential(
            nn.Linear(width, config.hidden_size),
            nn.GELU(),
            nn.Linear(config.hidden_size, config.hidden_size),
        )
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, width))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.tile = clip.image_size

    def forward(self, tiles: torch.Tensor, height: int, width: int) -> Any:
        """Rows of one picture; the first of `tiles` is the whole of it."""
        clip: Any = self.img_processor.vision_model
        patches = clip(tiles, output_hidden_states=True).hidden_states[-2][:, 1:]
        side = math.isqrt(patches.shape[1])
        patches = patches.view(len(tiles), side, side, -1)
        columns = width // self.tile
        count = columns * (height // self.tile)
        lines = self.lines(patches[1 : 1 + count], columns)
        return self.img_projection(
            torch.stack([*lines, self.glb_GN[0, 0], *self.lines(patches[:1], 1)])
        )

    def lines(self, tiles: torch.Tensor, columns: int) -> list[torch.Tensor]:
        found = []
        side = tiles.shape[1] // 2
        for y in range(len(tiles) // columns * side):
            for x in range(columns * side):
                tile = tiles[y // side * columns + x // side]
                top, left = y % side * 2, x % side * 2
                found.append(
                    torch.cat([tile[top + dy, left + dx] for dy in (0, 1) for dx in (0, 1)])
                )
            found.append(self.sub_GN[0, 0, 0])
        return found


class Model(Phi3ForCausalLM):  # type: ignore[misc]
    config_class = Config
    _keys_to_ignore_on_load_unexpected = [r"\.wte\."]  # noqa: RUF012

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model.vision_embed_tokens = Vision(config)

    def forward(
        self, input_ids: Any = None, pixel_values: Any = None, image_sizes: Any = None, **given: Any
    ) -> Any:
        if pixel_values is None or input_ids is None or input_ids.shape[1] == 1:
            return super().forward(input_ids=input_ids, **given)
        embeds = self.get_input_embeddings()(input_ids)
        rows = [
            self.model.vision_embed_tokens(tiles, *size)
            for tiles, size in zip(pixel_values, image_sizes.tolist(), strict=True)
        ]
        embeds[input_ids == self.config.image_token] = torch.cat(rows)
        return super().forward(inputs_embeds=embeds, **given)


def flat(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As its users write a conversation: pictures by their numbers, parts in lines."""
    count, made = 0, []
    for message in messages:
        lines = []
        for part in (
            [{"type": "text", "text": message["content"]}]
            if isinstance(message["content"], str)
            else message["content"]
        ):
            count += part["type"] == "image"
            lines.append(f"<|image_{count}|>" if part["type"] == "image" else part["text"])
        made.append({**message, "content": "\n".join(lines)})
    return made


class Processor:
    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = _hf.AutoTokenizer.from_pretrained(folder)
        files: Any = _hf.image_processing_base.ImageProcessingMixin.get_image_processor_dict(
            str(folder)
        )[0]
        self.crops, self.side = files["num_crops"], math.isqrt(files["num_img_tokens"])
        self.tile = 28 * self.side

    def __call__(
        self, text: list[str], images: list[list[Image.Image]], **_: Any
    ) -> dict[str, torch.Tensor]:
        seen = [self.tiles(image) for image in images[0]]
        most = max(len(tiles) for tiles, _ in seen)
        pixels = [
            torch.cat([tiles, torch.zeros(most - len(tiles), *tiles.shape[1:])])
            for tiles, _ in seen
        ]
        ids: list[int] = []
        for place, piece in enumerate(re.split(r"<\|image_\d+\|>", text[0])):
            if place:
                height, width = seen[place - 1][1]
                ids += [self.tokenizer.convert_tokens_to_ids(IMAGE)] * self.rows(
                    height // self.tile, width // self.tile
                )
            ids += self.tokenizer(piece)["input_ids"]
        made = torch.tensor([ids])
        sizes = torch.tensor([size for _, size in seen])
        return {
            "input_ids": made,
            "attention_mask": torch.ones_like(made),
            "pixel_values": torch.stack(pixels),
            "image_sizes": sizes,
        }

    def rows(self, high: int, wide: int) -> int:
        """Of so many tiles: each has side * side rows, as has the whole; one ends each line, one
        stands between."""
        return (high * wide + 1) * self.side**2 + 1 + (high + 1) * self.side

    def tiles(self, image: Image.Image) -> tuple[torch.Tensor, tuple[int, int]]:
        upright = image.width < image.height
        image = image.convert("RGB")
        image = image.transpose(Image.Transpose.TRANSPOSE) if upright else image
        ratio, scale = image.width / image.height, 1
        while scale * np.ceil(scale / ratio) <= self.crops:
            scale += 1
        wide = (scale - 1) * self.tile
        image = image.resize((wide, int(wide / ratio)), Image.Resampling.BILINEAR)
        lacking = int(np.ceil(image.height / self.tile) * self.tile) - image.height
        image = ImageOps.expand(
            image, (0, lacking // 2, 0, lacking - lacking // 2), (255, 255, 255)
        )
        image = image.transpose(Image.Transpose.TRANSPOSE) if upright else image
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        whole = nn.functional.interpolate(pixels[None], (self.tile, self.tile), mode="bicubic")
        found = [whole[0]]
        for top in range(0, image.height, self.tile):
            found += [
                pixels[:, top : top + self.tile, left : left + self.tile]
                for left in range(0, image.width, self.tile)
            ]
        return torch.stack(found), (image.height, image.width)
