"""Ultravox in a straight line, from what its published files say: the truth of `ultravox`.

Piece by piece and row by row, nothing padded but what is said to be; Llama and Whisper are
transformers' own layers. Shares nothing with the engine.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

_hf: Any = transformers
GenerationMixin: Any = _hf.GenerationMixin
PreTrainedConfig: Any = _hf.PreTrainedConfig
PreTrainedModel: Any = _hf.PreTrainedModel
PIECE = 3000
"""Frames."""


class Config(PreTrainedConfig):  # type: ignore[misc]
    model_type = "ultravox"
    text_config: Any = None
    audio_config: Any = None
    hidden_size: int = 4096
    stack_factor: int = 8
    audio_token_index: int = 0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.text_config = (
            _hf.LlamaConfig(**self.text_config)
            if isinstance(self.text_config, dict)
            else self.text_config
        )
        audio = self.audio_config
        self.audio_config = _hf.WhisperConfig(**audio) if isinstance(audio, dict) else audio


class Projector(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        stacked = config.audio_config.d_model * config.stack_factor
        self.ln_pre = nn.RMSNorm(stacked, eps=1e-6)
        self.linear_1 = nn.Linear(stacked, config.hidden_size, bias=False)
        self.ln_mid = nn.RMSNorm(config.hidden_size // 2, eps=1e-6)
        self.linear_2 = nn.Linear(
            config.hidden_size // 2, config.text_config.hidden_size, bias=False
        )

    def forward(self, stacked: torch.Tensor) -> Any:
        """One row."""
        inner = self.linear_1(self.ln_pre(stacked))
        half = len(inner) // 2
        return self.linear_2(self.ln_mid(inner[:half] * nn.functional.silu(inner[half:])))


class Model(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    config_class = Config
    base_model_prefix = "language_model"
    _supports_sdpa = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.language_model = _hf.LlamaForCausalLM(config.text_config)
        self.audio_tower = _hf.models.whisper.modeling_whisper.WhisperEncoder(config.audio_config)
        self.multi_modal_projector = Projector(config)
        self.post_init()

    def get_input_embeddings(self) -> Any:
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.language_model.lm_head

    def generate(self, input_ids: Any, pieces: Any = (), **given: Any) -> Any:
        table = self.get_input_embeddings()
        embeds = table(input_ids.clamp(max=table.num_embeddings - 1))
        if pieces:
            embeds[input_ids == self.config.audio_token_index] = torch.cat(
                [self.rows(*piece) for piece in pieces]
            )
        given.setdefault("generation_config", self.generation_config)
        return self.language_model.generate(input_ids=input_ids, inputs_embeds=embeds, **given)

    def rows(self, mel: torch.Tensor, heard: int) -> torch.Tensor:
        """Of one piece [mels, frames], the first `heard` of which are sound."""
        tower, stack = self.audio_tower, self.config.stack_factor
        hidden = nn.functional.gelu(tower.conv2(nn.functional.gelu(tower.conv1(mel[None]))))[0].T
        hidden = hidden + tower.embed_positions.weight[: len(hidden)]
        seen = torch.zeros(len(hidden), dtype=torch.bool)
        seen[: (heard - 1) // 2 + 1] = True
        for layer in tower.layers:
            hidden = layer(hidden[None], seen[None, None, None].expand(1, 1, len(hidden), -1))[0]
        hidden = tower.layer_norm(hidden)
        hidden = torch.cat([hidden, torch.zeros(-len(hidden) % stack, hidden.shape[1])])
        count = int(np.ceil(heard / 2 / stack))
        return torch.stack(
            [
                self.multi_modal_projector(hidden[row * stack : (row + 1) * stack].flatten())
                for row in range(count)
            ]
        )


def flat(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As its users write a conversation: a sound by its mark, parts in lines."""

    def text(content: Any) -> str:
        parts = (
            [content]
            if isinstance(content, str)
            else [part.get("text", "<|audio|>") for part in content]
        )
        return "\n".join(parts)

    return [{**message, "content": text(message["content"])} for message in messages]


class Processor:
    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = _hf.AutoTokenizer.from_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        self.stack, self.mark = config["stack_factor"], config["audio_token_index"]
        self.hear: Any = _hf.WhisperFeatureExtractor(
            feature_size=config["audio_config"]["num_mel_bins"]
        )

    def __call__(self, text: list[str], audio: Any, **_: Any) -> dict[str, Any]:
        ids: list[int] = []
        pieces: list[tuple[torch.Tensor, int]] = []
        sounds = iter(audio)
        for place, piece in enumerate(re.split(r"<\|audio\|>", text[0])):
            if place:
                found = self.pieces(next(sounds))
                pieces += found
                ids += [self.mark] * sum(
                    int(np.ceil(heard / (2 * self.stack))) for _, heard in found
                )
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        made = torch.tensor([ids])
        return {"input_ids": made, "attention_mask": torch.ones_like(made), "pieces": pieces}

    def pieces(self, samples: Any) -> list[tuple[torch.Tensor, int]]:
        """Each with how many of its frames are sound."""
        padded = np.pad(samples, (0, -len(samples) % self.hear.hop_length)).astype(np.float32)
        mel = self.hear(
            padded, sampling_rate=16000, truncation=False, padding="do_not_pad", return_tensors="pt"
        )["input_features"][0]
        if mel.shape[1] <= PIECE:
            return [(mel, mel.shape[1])]
        found = []
        for start in range(0, mel.shape[1], PIECE):
            part = mel[:, start : start + PIECE]
            found.append(
                (
                    torch.cat([part, torch.zeros(len(mel), PIECE - part.shape[1])], dim=1),
                    part.shape[1],
                )
            )
        return found
