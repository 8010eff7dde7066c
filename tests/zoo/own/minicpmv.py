"""MiniCPM-V 2.6 in a straight line, from what its published files and papers say: the truth of
`minicpmv`.

Slice by slice, head by head; text model and SigLIP are transformers' own. Shares nothing with the
engine.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import nn

_hf: Any = transformers
GenerationMixin: Any = _hf.GenerationMixin
PreTrainedModel: Any = _hf.PreTrainedModel
Qwen2Config: Any = _hf.Qwen2Config


class Config(Qwen2Config):  # type: ignore[misc]
    model_type = "minicpmv"
    vision_config: Any = None
    query_num: int = 64
    row_token: int = 0


class Resampler(nn.Module):
    def __init__(self, queries: int, width: int, seen: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(queries, width))
        self.proj = nn.Parameter(torch.zeros(width, width))
        self.kv_proj = nn.Linear(seen, width, bias=False)
        self.attn = nn.MultiheadAttention(width, width // 128)
        self.ln_q = nn.LayerNorm(width, eps=1e-6)
        self.ln_kv = nn.LayerNorm(width, eps=1e-6)
        self.ln_post = nn.LayerNorm(width, eps=1e-6)

    def forward(self, seen: torch.Tensor, rows: int, columns: int) -> Any:
        """[patches, width] of one slice to [queries, width]."""
        values = self.ln_kv(self.kv_proj(seen))
        width = values.shape[1]
        place = torch.tensor(
            [turned(x, width) + turned(y, width) for y in range(rows) for x in range(columns)]
        )
        weights, biases = self.attn.in_proj_weight.chunk(3), self.attn.in_proj_bias.chunk(3)
        given = (self.ln_q(self.query), values + place, values)
        query, key, value = (
            one @ weight.T + bias for one, weight, bias in zip(given, weights, biases, strict=True)
        )
        heads = []
        for start in range(0, width, 128):
            part = slice(start, start + 128)
            heads.append(
                (query[:, part] @ key[:, part].T / math.sqrt(128)).softmax(-1) @ value[:, part]
            )
        return self.ln_post(self.attn.out_proj(torch.cat(heads, dim=1))) @ self.proj


def turned(place: int, width: int) -> list[float]:
    """Half of a position: sines, then cosines."""
    angles = [place / 10000 ** (4 * index / width) for index in range(width // 4)]
    return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]


class Model(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    config_class = Config
    base_model_prefix = "llm"
    _supports_sdpa = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        vision = _hf.SiglipVisionConfig(**config.vision_config, vision_use_head=False)
        self.llm = _hf.Qwen2ForCausalLM(config)
        self.vpm = _hf.SiglipVisionModel(vision)
        self.resampler = Resampler(config.query_num, config.hidden_size, vision.hidden_size)
        self.side = vision.image_size // vision.patch_size
        self.post_init()

    def get_input_embeddings(self) -> Any:
        return self.llm.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.llm.lm_head

    def generate(self, input_ids: Any, slices: Any = (), **given: Any) -> Any:
        embeds = self.get_input_embeddings()(input_ids)
        if slices:
            embeds[input_ids == self.config.row_token] = torch.cat(
                [self.rows(one) for one in slices]
            )
        given.setdefault("generation_config", self.generation_config)
        return self.llm.generate(input_ids=input_ids, inputs_embeds=embeds, **given)

    def rows(self, pixels: torch.Tensor) -> Any:
        """Of one slice [3, height, width]."""
        table = self.vpm.embeddings
        grid = table.patch_embedding(pixels[None])[0]
        rows, columns = grid.shape[1:]
        patches = []
        for y, down in enumerate(self.bins(rows)):
            patches += [grid[:, y, x] + table.position_embedding.weight[down * self.side + across]
                        for x, across in enumerate(self.bins(columns))]  # fmt: skip
        seen = self.vpm.encoder(inputs_embeds=torch.stack(patches)[None]).last_hidden_state
        return self.resampler(self.vpm.post_layernorm(seen)[0], rows, columns)

    def bins(self, count: int) -> list[int]:
        """In which of `side` equal parts each of `count` patches begins."""
        edges = torch.arange(1 / self.side, 1.0, 1 / self.side)
        return [
            int((edges <= start).sum())
            for start in torch.arange(0, 1 - 1e-6, float(1 / torch.tensor(count)))
        ]


def flat(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As its own `chat` writes a conversation: parts in lines."""
    marks = {"image": "(<image>./</image>)", "video": "(<video>./</video>)"}

    def text(content: Any) -> str:
        parts = (
            [content]
            if isinstance(content, str)
            else [marks.get(part["type"]) or part["text"] for part in content]
        )
        return "\n".join(parts)

    return [{**message, "content": text(message["content"])} for message in messages]


class Processor:
    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = _hf.TokenizersBackend.from_pretrained(folder)
        self.said: Any = _hf.image_processing_base.ImageProcessingMixin.get_image_processor_dict(
            str(folder)
        )[0]
        self.scale, self.patch = self.said["scale_resolution"], self.said["patch_size"]

    def __call__(
        self, text: list[str], images: Any = ([],), videos: Any = (), **_: Any
    ) -> dict[str, Any]:
        shown, clips = iter(images[0]), iter(videos)
        slices: list[torch.Tensor] = []
        written, count = "", 0
        for piece in re.split(r"(\(<image>\./</image>\)|\(<video>\./</video>\))", text[0]):
            if piece == "(<image>./</image>)":
                found, columns = self.slices(next(shown), self.said["max_slice_nums"])
                written += f"<image_id>{count}</image_id>" + self.text(len(found), columns)
                count += 1
                slices += found
            elif piece == "(<video>./</video>)":
                frames = [self.slices(Image.fromarray(frame), 2) for frame in next(clips)]
                written += "\n".join(self.text(len(found), columns) for found, columns in frames)
                slices += [one for found, _ in frames for one in found]
            else:
                written += piece
        ids = self.tokenizer(written, return_tensors="pt", add_special_tokens=False)["input_ids"]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "slices": slices}

    def text(self, slices: int, columns: int) -> str:
        rows = "<unk>" * self.said["image_feature_size"]
        written = f"<image>{rows}</image>"
        for place in range(slices - 1):
            written += "\n" if place and place % columns == 0 else ""
            written += f"<slice>{rows}</slice>"
        return written

    def slices(self, image: Image.Image, most: int) -> tuple[list[torch.Tensor], int]:
        """The whole and its slices as pixels, and how many slices a line has."""
        image = image.convert("RGB")
        multiple = min(math.ceil(image.width * image.height / (self.scale * self.scale)), most)
        if multiple <= 1:
            return [
                self.pixels(
                    image.resize(
                        self.best(image.width, image.height, True), Image.Resampling.BICUBIC
                    )
                )
            ], 1
        best, least = (1, 1), float("inf")
        for pieces in (multiple - 1, multiple, multiple + 1):
            if pieces == 1 or pieces > most:
                continue
            for wide in range(1, pieces + 1):
                error = abs(math.log(image.width / image.height) - math.log(wide / (pieces / wide)))
                if pieces % wide == 0 and error < least:
                    best, least = (wide, pieces // wide), error
        found = [
            self.pixels(
                image.resize(self.best(image.width, image.height, False), Image.Resampling.BICUBIC)
            )
        ]
        near = (
            self.whole(image.width, best[0]) / best[0],
            self.whole(image.height, best[1]) / best[1],
        )
        cell = self.best(*near, True)
        large = self.pixels(
            image.resize((cell[0] * best[0], cell[1] * best[1]), Image.Resampling.BICUBIC)
        )
        for row in range(best[1]):
            for column in range(best[0]):
                found.append(
                    large[
                        :,
                        row * cell[1] : (row + 1) * cell[1],
                        column * cell[0] : (column + 1) * cell[0],
                    ]
                )
        return found, best[0]

    def best(self, width: float, height: float, enlarge: bool) -> tuple[int, int]:
        if width * height > self.scale * self.scale or enlarge:
            shape = width / height
            height = int(self.scale / math.sqrt(shape))
            width = int(height * shape)
        return self.whole(width, self.patch), self.whole(height, self.patch)

    def whole(self, length: float, part: int) -> int:
        return max(round(length / part) * part, part)

    def pixels(self, image: Image.Image) -> torch.Tensor:
        return (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
