"""A tiny checkpoint of the zoo in a campaign: transformers' answers for it, as the oracle asks for
them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from thespis.tests.helpers.reference import Media
from thespis.tests.zoo.catalog import animal
from thespis.tests.zoo.reference import Answer, Reference

SHOWN = ("image",)
"""Clips and sounds are the bundled model's part: how each family samples them is compared
elsewhere."""


class ZooReference:
    """The zoo's own oracle with the methods of `tests.helpers.reference.Reference`. No answer ends
    before its last token."""

    def __init__(self, name: str, folder: Path) -> None:
        self._own = Reference(animal(name), folder)
        self.tokenizer: Any = self._own.tokenizer

    def prompt(self, messages: list[dict[str, Any]]) -> str:
        """The zoo's templates know contents in parts alone."""
        parts = [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            if isinstance(message["content"], str)
            else message
            for message in messages
        ]
        return self._own.text(parts)

    def answer(self, prompt: str, media: Media, max_tokens: int, ignore_eos: bool = True) -> Answer:
        return self._own.answer(prompt, media, max_tokens)

    @torch.inference_mode()
    def logits_after(self, prompt: str, media: Media, output: Sequence[int]) -> torch.Tensor:
        """Logits [vocab] of the token that comes after `output`, which need not be what the model
        would have said."""
        inputs = self._own.inputs(prompt, media)
        start = inputs["input_ids"].shape[1]
        vocab = self._own.model.config.get_text_config().vocab_size

        def only(_: int, ids: torch.Tensor) -> list[int]:
            place = len(ids) - start
            return [output[place]] if place < len(output) else list(range(vocab))

        made = self._own.model.generate(
            **inputs,
            max_new_tokens=len(output) + 1,
            prefix_allowed_tokens_fn=only,
            return_dict_in_generate=True,
            output_logits=True,
        )
        last: torch.Tensor = made.logits[-1][0].float()
        return last
