"""The oracle: what transformers itself says to one request alone, in float32, one thread, greedy.

Nothing of the engine is used here but the loader of processors, which finds transformers' own
classes where torchvision is not installed.
"""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from PIL import Image

from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing.loading import load_processor

from .media import RATE, Pixels, Sound

SAFE_GAP = 1e-3
"""Of the best logit before the second. Recomputing moves logits by up to 5e-5; below 1e-4 a
difference would be a tie."""
_hf: Any = transformers


class Media(NamedTuple):
    """A request's raw media, each in prompt order."""

    images: tuple[Image.Image, ...] = ()
    videos: tuple[Pixels, ...] = ()
    audio: tuple[Sound, ...] = ()


NO_MEDIA = Media()


class Answer(NamedTuple):
    prompt_token_ids: list[int]
    """With every placeholder expanded."""
    token_ids: list[int]
    """The end token included, where the model said it."""
    gaps: list[float]
    """Best logit less second best, at each of `token_ids`."""

    @property
    def safe(self) -> bool:
        """No position is near a tie, so another order of the same sums must give the same
        tokens."""
        return min(self.gaps) >= SAFE_GAP


class Reference:
    """One checkpoint under transformers. Loading takes seconds: keep it for the session
    (`reference_for`)."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.tokenizer: Any = _hf.AutoTokenizer.from_pretrained(folder)
        self._processor = load_processor(folder, hf.load_config(folder))
        loaded = _hf.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa"
        )
        self.model: Any = loaded.eval()

    def prompt(self, messages: list[dict[str, Any]]) -> str:
        """Conversation to text, by the checkpoint's own template."""
        text: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return text

    def answer(
        self, prompt: str, media: Media = NO_MEDIA, max_tokens: int = 12, ignore_eos: bool = False
    ) -> Answer:
        """At most `max_tokens` greedy tokens after `prompt`, whose placeholders are not yet
        expanded."""
        start, made = self._generate(prompt, media, max_tokens, ignore_eos)
        best = torch.stack([step[0].float().topk(2).values for step in made.logits])
        ids = made.sequences[0].tolist()
        return Answer(ids[:start], ids[start:], (best[:, 0] - best[:, 1]).tolist())

    def logits_after(self, prompt: str, media: Media, output: Sequence[int]) -> torch.Tensor:
        """Logits [vocab] of the token that comes after `output`, which need not be what the model
        would have said."""

        def only(_: int, ids: torch.Tensor) -> list[int]:
            place = len(ids) - start
            return (
                [output[place]]
                if place < len(output)
                else list(range(self.model.config.get_text_config().vocab_size))
            )

        start = self._inputs(prompt, media)["input_ids"].shape[1]
        _, made = self._generate(
            prompt, media, len(output) + 1, True, prefix_allowed_tokens_fn=only
        )
        last: torch.Tensor = made.logits[-1][0].float()
        return last

    def _generate(
        self, prompt: str, media: Media, max_tokens: int, ignore_eos: bool, **more: Any
    ) -> tuple[int, Any]:
        """The prompt's length, and what `generate` made of it."""
        inputs = self._inputs(prompt, media)
        own = self.model.generation_config
        if ignore_eos:  # a configuration handed to `generate` gets its empty fields from this one
            self.model.generation_config = copy.deepcopy(own)
            self.model.generation_config.eos_token_id = None
        try:
            with torch.inference_mode():
                made = self.model.generate(
                    **inputs,
                    max_new_tokens=max_tokens,
                    do_sample=False,
                    return_dict_in_generate=True,
                    output_logits=True,
                    **more,
                )
        finally:
            self.model.generation_config = own
        return inputs["input_ids"].shape[1], made

    def _inputs(self, prompt: str, media: Media) -> dict[str, Any]:
        if not any(media):
            return dict(self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False))
        given: dict[str, Any] = {"text": [prompt], "return_tensors": "pt"}
        if media.images:
            given["images"] = [list(media.images)]
        if media.videos:
            given["videos"] = [np.ascontiguousarray(clip) for clip in media.videos]
        if media.audio:
            given["audio"] = list(media.audio)
            given["sampling_rate"] = RATE
        return dict(self._processor(**given))


def rope_owner(model: Any) -> Any | None:
    """The part of a whole model that has `get_rope_index`: which one it is has changed between
    versions of transformers."""
    return next((part for part in (model, model.model) if hasattr(part, "get_rope_index")), None)


@functools.cache
def reference_for(folder: Path) -> Reference:
    return Reference(folder)
