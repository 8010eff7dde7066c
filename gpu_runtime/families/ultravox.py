"""Ultravox (`ultravox`): a language model, and Whisper's encoder under a projector that stacks its
frames.

A sound is heard in pieces of at most thirty seconds, each by itself; what is silence behind a
piece's end is masked. The text model, and in older checkpoints the encoder, are other models that
the configuration names (`companions.py`).
"""

from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    BatchFeature,
    PreTrainedConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.activations import ACT2FN
from transformers.configuration_utils import SubConfigSpec
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .base import Answering, Body, OwnProcessor, of_body

HALVED = 2
"""Frames that the encoder makes one of."""


@strict
class UltravoxConfig(PreTrainedConfig):
    """`hidden_size`: of the projector."""

    model_type = "ultravox"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "audio_config": SubConfigSpec(config_class=AutoConfig, model_type="whisper"),
    }

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    audio_config: dict[str, Any] | PreTrainedConfig | None = None
    hidden_size: int = 4096
    stack_factor: int = 8
    projector_act: str = "swiglu"
    projector_ln_mid: bool = False
    audio_token_index: int | None = None
    audio_latency_block_size: int | None = None
    num_projector_layers: int = 0
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.audio_latency_block_size is not None:
            raise ValueError(
                "an encoder that hears in blocks (audio_latency_block_size) is not built"
            )
        if self.num_projector_layers:
            raise ValueError(
                "a projector with layers of its own (num_projector_layers) is not built"
            )
        super().__post_init__(**kwargs)
        if not isinstance(self.audio_config, WhisperConfig):
            raise ValueError("only Whisper's encoder is built for sounds")


class UltravoxEncoder(WhisperEncoder):
    """Whisper's, of sounds of any length up to thirty seconds."""

    def forward(self, input_features: torch.Tensor, audio_lens: torch.Tensor) -> torch.Tensor:
        """`input_features` [pieces, mels, frames], of which `audio_lens` [pieces] are sound.
        [pieces, frames / 2, width]."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(input_features)))).transpose(1, 2)
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        places = torch.arange(hidden.shape[1], device=hidden.device)
        heard = places < (audio_lens[:, None] + 1) // HALVED
        mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden, attention_mask=heard.long()
        )
        for layer in self.layers:
            hidden = layer(hidden, mask)
        normed: torch.Tensor = self.layer_norm(hidden)
        return normed


class Projector(nn.Module):
    """Under the names that the weights have: the second norm stands before or behind the second
    product."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.stack = config.stack_factor
        stacked = config.audio_config.d_model * self.stack
        self.is_gated = config.projector_act == "swiglu"
        self.act = F.silu if self.is_gated else ACT2FN[config.projector_act]
        inner = config.hidden_size // 2 if self.is_gated else config.hidden_size
        width = config.text_config.hidden_size
        self.ln_pre = LlamaRMSNorm(stacked)
        self.linear_1 = nn.Linear(stacked, config.hidden_size, bias=False)
        self.linear_2 = nn.Linear(inner, width, bias=False)
        self.ln_mid = LlamaRMSNorm(inner) if config.projector_ln_mid else nn.Identity()
        self.ln_post = nn.Identity() if config.projector_ln_mid else LlamaRMSNorm(width)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        """[pieces, frames, audio width] to [pieces, rows, hidden]."""
        lacking = -heard.shape[1] % self.stack
        stacked = F.pad(heard, (0, 0, 0, lacking)).unflatten(1, (-1, self.stack)).flatten(2)
        inner = self.linear_1(self.ln_pre(stacked))
        if self.is_gated:
            value, gate = inner.chunk(2, dim=-1)
            inner = value * self.act(gate)
        else:
            inner = self.act(inner)
        rows: torch.Tensor = self.ln_post(self.linear_2(self.ln_mid(inner)))
        return rows


class UltravoxBody(Body):
    config: UltravoxConfig

    def __init__(self, config: UltravoxConfig) -> None:
        super().__init__(config)
        parts: Any = config
        self.language_model = AutoModel.from_config(parts.text_config)
        self.audio_tower = UltravoxEncoder(parts.audio_config)
        self.multi_modal_projector = Projector(config)
        self.post_init()

    def get_audio_features(
        self, input_features: torch.Tensor, audio_lens: torch.Tensor
    ) -> BaseModelOutputWithPooling:
        rows = self.multi_modal_projector(self.audio_tower(input_features, audio_lens))
        counts = rows_of(audio_lens, self.config.stack_factor).tolist()
        found: Any = torch.cat([piece[:count] for piece, count in zip(rows, counts, strict=True)])
        return BaseModelOutputWithPooling(pooler_output=found)


def rows_of(frames: torch.Tensor, stack: int) -> torch.Tensor:
    """Of so many frames of mel."""
    return -(-frames // (HALVED * stack))


class UltravoxModel(Answering):
    config: UltravoxConfig
    body_class = UltravoxBody
    get_audio_features = of_body(UltravoxBody.get_audio_features)


class UltravoxProcessor(OwnProcessor):
    feature_extractor: Any

    def __init__(
        self,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        chat_template: Any = None,
        stack_factor: int = 8,
        audio_placeholder: str = "<|audio|>",
        audio_context_size: int = 3000,
    ) -> None:
        """`audio_context_size`: frames of a piece."""
        self.audio_token = audio_placeholder
        self.audio_token_id = tokenizer.convert_tokens_to_ids(audio_placeholder)
        self.stack_factor, self.audio_context_size = stack_factor, audio_context_size
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)

    @staticmethod
    def extractor_for(config: Any) -> WhisperFeatureExtractor:
        """Its folder has no file for it: Whisper's own settings, of the encoder's width."""
        return WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins)

    def _process_audio(self, audio: Any, **options: Any) -> tuple[BatchFeature, list[str]]:
        """The only sound in the list, in pieces: of several, the last is filled up."""
        (samples,) = audio
        hop = self.feature_extractor.hop_length
        samples = np.pad(samples, (0, max(0, 2 * hop - len(samples))))
        options |= {"padding": "longest", "pad_to_multiple_of": hop}
        options |= {"truncation": False, "return_tensors": "pt"}
        mel = self.feature_extractor(samples, **options)["input_features"][0]
        most = self.audio_context_size
        pieces = mel.split(most, dim=1)
        lens = torch.tensor([piece.shape[1] for piece in pieces])
        width = most if len(pieces) > 1 else mel.shape[1]
        filled = torch.stack([F.pad(piece, (0, width - piece.shape[1])) for piece in pieces])
        made = BatchFeature({"input_features": filled, "audio_lens": lens})
        return made, [self.audio_token * int(rows_of(lens, self.stack_factor).sum())]


CLASSES = (UltravoxModel, UltravoxProcessor)
