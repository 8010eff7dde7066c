"""The oracle of the zoo: what transformers alone makes of one conversation, in float32, one thread,
greedy.

Its own processor expands the prompt, pictures nested as `apply_chat_template` nests them, and its
own `generate` answers. Nothing of the engine's own formulas is used. Where torchvision is
installed, clips go through transformers' classes on it; else through the same classes over the
kernels that the engine lends them.
"""

import contextlib
import importlib.util
import inspect
from collections.abc import Collection, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing.loading import load_processor

from ..helpers.media import CLIP_FPS, RATE
from ..helpers.reference import NO_MEDIA, Media
from .catalog import animal
from .kinds import Animal
from .writing import true_class, true_config

_hf: Any = transformers
PIECE = 30 * RATE
"""Samples of a sound that Voxtral hears at once, in 375 rows."""


class Answer(NamedTuple):
    prompt_token_ids: list[int]
    """With every placeholder expanded."""
    token_ids: list[int]
    gaps: list[float]
    """Best logit less second best, at each of `token_ids`."""
    first: torch.Tensor
    """Log-probabilities [vocab] of the first."""

    @property
    def safe(self) -> int:
        """Tokens before the first that is near a tie: another order of the same sums gives them
        too."""
        return next((place for place, gap in enumerate(self.gaps) if gap < 1e-3), len(self.gaps))


class Reference:
    """One checkpoint of the zoo under transformers."""

    def __init__(self, described: Animal, folder: Path) -> None:
        torch.set_num_threads(1)
        self.animal = described
        config = true_config(self.animal, folder)
        kind = true_class(described)
        load: Any = partial(kind.from_pretrained, folder, config=config, dtype=torch.float32)
        load = partial(load, output_loading_info=True)
        try:
            self.model, self.told = load(attn_implementation=self.animal.attention)
        except ValueError:  # a part of it attends in its own way only
            self.model, self.told = load(attn_implementation="eager")
        self.model.eval()
        # What the checkpoint recommends (sampling, penalties, ends) is no part of the comparison.
        self.model.generation_config = _hf.GenerationConfig(do_sample=False, pad_token_id=0)
        self._own: Any = (
            import_module(f"{__package__}.own.{described.own}") if described.own else None
        )
        self.processor: Any = (
            self._own.Processor(folder)
            if self._own
            else _processor(folder, bool(self.animal.takes))
        )
        self.tokenizer: Any = getattr(self.processor, "tokenizer", self.processor)

    def text(self, messages: list[dict[str, Any]]) -> str:
        """Conversation to text, by the checkpoint's own template; placeholders are not expanded."""
        owner = self.processor if getattr(self.processor, "chat_template", None) else self.tokenizer
        messages = self._own.flat(messages) if self._own else messages
        more = {} if self.animal.template is None else {"chat_template": self.animal.template}
        rendered: str = owner.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **more
        )
        return rendered

    def has_bos(self, text: str) -> bool:
        """The template has written it; the tokenizer would write a second one."""
        bos = self.tokenizer.bos_token
        return bos is not None and text.startswith(bos)

    def inputs(self, text: str, media: Media = NO_MEDIA) -> dict[str, Any]:
        """What `generate` takes. A text that has its BOS gets no second one."""
        special = not self.has_bos(text)
        if not any(media):
            types = self.animal.prefix
            how = {
                "return_tensors": "pt",
                "add_special_tokens": special,
                "return_token_type_ids": types,
            }
            return dict(self.tokenizer(self.animal.frame(text), **how))
        if self.animal.model.startswith("Voxtral"):
            return self._voxtral(text, media, special)
        given: dict[str, Any] = {
            "text": [text],
            "return_tensors": "pt",
            "text_kwargs": {"add_special_tokens": special},
        }
        if media.images:
            given["images"] = [list(media.images)]
        if media.videos:
            given["videos"] = list(media.videos)
            given["videos_kwargs"] = {
                "do_sample_frames": False,
                "video_metadata": [clip_facts(len(v)) for v in media.videos],
            }
        if media.audio:
            given["audio"] = list(media.audio)
            given["audio_kwargs"] = {"sampling_rate": RATE}
        made = self.processor(**given)
        taken = inspect.signature(self.model.forward).parameters
        return {name: value for name, value in made.items() if _is_taken(name, taken)}

    def _voxtral(self, text: str, media: Media, special: bool) -> dict[str, Any]:
        """Its processor leaves texts with sounds to another package: the rule of that package in a
        few lines."""
        features = []
        for samples in media.audio:
            pieces = -(-len(samples) // PIECE)
            padded = np.pad(samples, (0, pieces * PIECE - len(samples)))
            made = self.processor.feature_extractor(
                np.split(padded, pieces), sampling_rate=RATE, return_tensors="pt"
            )
            features.append(made["input_features"])
            text = text.replace("[AUDIO]", "[AUDI0]" * 375 * pieces, 1)
        text = text.replace("[AUDI0]", "[AUDIO]")
        ids = self.tokenizer(
            text, return_tensors="pt", add_special_tokens=special, return_token_type_ids=False
        )
        return {**ids, "input_features": torch.cat(features)}

    @torch.inference_mode()
    def answer(self, text: str, media: Media = NO_MEDIA, tokens: int = 12) -> Answer:
        """Exactly `tokens` greedy tokens after `text`; no end is one."""
        return self.continued(self.inputs(text, media), tokens)

    @torch.inference_mode()
    def continued(self, inputs: Mapping[str, Any], tokens: int) -> Answer:
        made = self.model.generate(
            **inputs, max_new_tokens=tokens, return_dict_in_generate=True, output_logits=True
        )
        logits = torch.stack([step[0].float() for step in made.logits])
        best = logits.topk(2).values
        start = inputs["input_ids"].shape[1]
        ids = made.sequences[0].tolist()
        return Answer(
            ids[:start], ids[start:], (best[:, 0] - best[:, 1]).tolist(), logits[0].log_softmax(-1)
        )


def _is_taken(name: str, taken: Collection[str]) -> bool:
    return name not in FOR_TRAINING and (name not in NOT_OF_EVERY_MODEL or name in taken)


NOT_OF_EVERY_MODEL = frozenset({"text_replacement_offsets", "num_img_tokens", "token_type_ids"})
FOR_TRAINING = frozenset({"labels"})


def clip_facts(frames: int) -> dict[str, Any]:
    """What a reader of clips would tell of one whose every frame was kept."""
    return {
        "fps": float(CLIP_FPS),
        "frames_indices": list(range(frames)),
        "total_num_frames": frames,
        "duration": frames / CLIP_FPS,
    }


@cache
def reference_for(name: str, folder: Path) -> Reference:
    return Reference(animal(name), folder)


def _processor(folder: Path, takes_media: bool) -> Any:
    if not takes_media:
        return _hf.AutoTokenizer.from_pretrained(folder)
    if importlib.util.find_spec("torchvision") is None:
        return load_processor(folder, hf.load_config(folder))
    try:
        made = _hf.AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except ImportError:  # of a package beside torchvision
        return load_processor(folder, hf.load_config(folder))
    if hasattr(made, "image_processor"):  # pictures by Pillow, as everywhere in the engine
        with contextlib.suppress(ImportError):  # a class that has no such form
            made.image_processor = _hf.AutoImageProcessor.from_pretrained(
                folder, backend="pil", trust_remote_code=False
            )
    return made
