"""A language model of transformers with towers beside it: what the families built here have in
common."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.processing_utils import ProcessorMixin


class OwnProcessor(ProcessorMixin):
    """Of parts that may be ours, which transformers knows by no name."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> type[Any]:
        return type(argument)


class Family(PreTrainedModel):
    """Of bodies and of models with a head."""

    base_model_prefix = "model"
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_compile_fullgraph = False


class Body(Family):
    """`language_model`, which a subclass makes, and its towers: their rows are laid over the
    embeddings by who calls it."""

    language_model: Any

    def get_input_embeddings(self) -> nn.Module:
        embedding: nn.Module = self.language_model.get_input_embeddings()
        return embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def forward(self, **given: Any) -> BaseModelOutputWithPast:
        """Of text, or of `inputs_embeds` that have an item's rows in them."""
        found: BaseModelOutputWithPast = self.language_model(**given)
        return found


class Answering(Family, GenerationMixin):
    """A body and its head."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012
    body_class: type[Body]

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        text = config.get_text_config()
        self.model = self.body_class(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

    def forward(
        self, logits_to_keep: int | torch.Tensor = 0, **given: Any
    ) -> CausalLMOutputWithPast:
        found = self.model(**given)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(found.last_hidden_state[:, kept])
        return CausalLMOutputWithPast(logits=logits, past_key_values=found.past_key_values)


def of_body(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of the body for the model with a head, which is asked as well; it has the same
    signature."""

    @wraps(method)
    def asked(self: Any, *given: Any, **named: Any) -> Any:
        return method(self.model, *given, **named)

    return asked
