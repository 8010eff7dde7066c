"""The models whose items `get_..._features` does not embed: how each does it, in the words of its
own forward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.masking_utils import create_bidirectional_mask


@dataclass(frozen=True)
class OwnTowers:
    """One row."""

    encode: dict[str, Callable[..., torch.Tensor]]
    """By kind: (body, rows, **the item's tensors) to [rows, hidden]."""
    inside: tuple[str, ...] = ()
    """The parts of the body that hold them, where the body is the decoder too."""
    seeing: str = ""
    """The part of the body in which every patch sees all others, and whose classes say that it does
    not: transformers' SDPA believes them where nothing is masked, so that a picture would be
    another alone; its eager attention does not."""


def _qwen2_audio(
    body: Any, rows: int, input_features: torch.Tensor, feature_attention_mask: torch.Tensor
) -> torch.Tensor:
    """`input_features` [1, mels, frames], the mask [1, frames]."""
    tower = body.audio_tower
    lengths, found = tower._get_feat_extract_output_lengths(feature_attention_mask.sum(-1))
    columns = (input_features.shape[-1] - 2) // 2 + 1
    seen = torch.arange(columns, device=lengths.device)[None] < lengths[:, None]
    like = input_features.new_zeros((1, columns, 1))
    mask = create_bidirectional_mask(
        config=tower.config, inputs_embeds=like, attention_mask=seen.long()
    )
    hidden = tower(input_features, attention_mask=mask).last_hidden_state
    embeds: torch.Tensor = body.multi_modal_projector(hidden)[0, : int(found)]
    return embeds


def _phi4(part: str, token: Callable[[Any], int]) -> Callable[..., torch.Tensor]:
    def encode(body: Any, rows: int, **given: Any) -> torch.Tensor:
        """It writes an item's rows over the embeddings of that many placeholders."""
        like = next(body.embed_tokens_extend.parameters())
        ids = torch.full((1, rows), token(body.config), device=like.device)
        blank = like.new_zeros((1, rows, body.config.hidden_size))
        embeds: torch.Tensor = getattr(body.embed_tokens_extend, part)(ids, blank, **given)[0]
        return embeds

    return encode


def _phi4_sound(
    body: Any, rows: int, siblings: torch.Tensor | None = None, **tensors: Any
) -> torch.Tensor:
    """`siblings`: there are pictures in the prompt, beside which sounds have a projection of their
    own."""
    mode = "speech" if siblings is None else "vision"
    encode = _phi4("audio_embed", lambda config: int(config.audio_config.audio_token_id))
    return encode(body, rows, audio_projection_mode=mode, **tensors)


def _ovis2(body: Any, rows: int, pixel_values: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
    """`marks` [rows]: which of the marks between tiles a row is, -1: it is a tile's. The tower has
    the same for every item."""
    found = body.get_image_features(pixel_values, return_dict=True)
    tiles, known = found.pooler_output.flatten(0, 1), found.visual_indicator_features
    is_tile = marks < 0
    places = torch.where(is_tile, len(known) + is_tile.cumsum(0) - 1, marks)
    embeds: torch.Tensor = torch.cat([known, tiles])[places]
    return embeds


OWN: dict[str, OwnTowers] = {
    "ovis2": OwnTowers({"image": _ovis2}),
    "qwen2_audio": OwnTowers({"audio": _qwen2_audio}),
    "phi4_multimodal": OwnTowers(
        {
            "image": _phi4("image_embed", lambda config: int(config.vision_config.image_token_id)),
            "audio": _phi4_sound,
        },
        inside=("embed_tokens_extend.image_embed", "embed_tokens_extend.audio_embed"),
        seeing="embed_tokens_extend.image_embed.img_processor",
    ),
}
"""By model type."""
