"""Where the language model lies in a whole model of transformers."""

from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedModel

from ...protocol.errors import EngineError
from .own_towers import OWN


class ModelParts(NamedTuple):
    """Modules of one whole model, which stays what it was."""

    whole: PreTrainedModel
    """With the head: its forward makes logits of hidden states, whatever it does to them."""
    decoder: Any
    """Layers and last norm: hidden states of embeddings."""
    embedding: Any
    """Token ids to embeddings, scaled where the model scales them."""
    head: nn.Module
    """The last projection, to the vocabulary."""

    @property
    def body(self) -> str:
        """Path of what `whole` puts its head on: all but the head, where the class has such a part;
        else the decoder."""
        name = self.whole.base_model_prefix
        within = name and isinstance(getattr(self.whole, name, None), nn.Module)
        return name if within else path_of(self.whole, self.decoder)

    def roots(self, headless: bool = False) -> list[str]:
        """Paths of the modules that a process needs which has no towers; `headless`: nor a head."""
        beside: set[str] = set()
        if self.body == self.whole.base_model_prefix:
            beside = {name for name, _ in self.whole.named_children()} - {self.body}
        needed = [path_of(self.whole, part) for part in (self.decoder, self.embedding, self.head)]
        without = {needed[-1]} if headless else set()
        return sorted({*beside, *needed} - without)

    def towers(self) -> list[str]:
        """Paths of towers that lie in the decoder itself."""
        row = OWN.get(self.whole.config.model_type)
        inside = () if row is None else row.inside
        return [f"{path_of(self.whole, self.decoder)}.{part}" for part in inside]


def take_apart(whole: PreTrainedModel) -> ModelParts:
    """Raises EngineError for a model that is no decoder with embeddings and a head."""
    model: Any = whole  # half of what is asked of it has no types
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    decoder = model.get_decoder()
    if getattr(decoder, "get_output_embeddings", lambda: None)() is not None:  # it has a head, too
        inner = decoder.get_decoder() if decoder is not whole else decoder
        decoder = inner if inner is not decoder else getattr(inner, "model", None)
    if embedding is None or head is None or decoder is None:
        raise EngineError(
            f"{type(whole).__name__} of transformers is no decoder with embeddings and a head: "
            f"it cannot be run."
        )
    return ModelParts(whole, decoder, embedding, head)


def path_of(whole: nn.Module, part: nn.Module) -> str:
    modules = whole.named_modules(remove_duplicate=False)
    found: str = next(path for path, module in modules if module is part)
    return found
