"""One model family on the stage of its own engine: its three faces, and transformers beside them.

The tokenizer merges letters, so that a text which is cut in another place has other ids. The engine
has little room, and takes pictures in pieces.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from thespis import LLM, AsyncLLM

from ..helpers.checkpoints import Family
from ..helpers.environment import DEVICE
from ..helpers.media import data_url, picture, png
from ..helpers.reference import Media, Reference, reference_for
from ..helpers.serving import Server, served
from ..helpers.tokenizers import with_merges
from .faces import AsyncFace, Face, FaceName, HttpFace, OfflineFace

BLOCK = 8
"""Tokens; small, so that spans lie across blocks."""
BLOCK_BYTES = 2 * 3 * BLOCK * 2 * 16 * 4
"""Of keys and values: 3 layers, 2 heads of 16, float32."""
BLOCKS = 104
"""Room for ten of the long requests as they begin and for four as they end: those that run outgrow
it."""
OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "device": DEVICE,
    "max_model_len": 256,
    "block_size": BLOCK,
    "kv_cache_gb": (BLOCKS + 0.5) * BLOCK_BYTES / (1 << 30),
    "max_num_batched_tokens": 24,
    "max_num_seqs": 16,
    "runner_threads": 1,
    "encoder_threads": 1,
    "served_model_name": "tiny",
    "trust_request_chat_template": True,
    "enable_mm_embeds": True,
}
"""Of the engine: the equality test asks more of it than it can hold."""
MARKS = {
    "qwen_omni": ("<|vision_bos|>", "<|IMAGE|>", "<|vision_eos|>"),
    "qwen_vl": ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>"),
    "llava": ("", "<image>", "\n"),
}
"""What the family's template writes for a picture."""


class Troupe(NamedTuple):
    family: Family
    folder: Path
    faces: dict[FaceName, Face]
    llm: LLM
    server: Server
    reference: Reference

    @property
    def placeholder(self) -> str:
        """Of a picture."""
        return MARKS[self.family][1]

    @property
    def shown(self) -> str:
        """What the template writes for a picture."""
        return "".join(MARKS[self.family])

    def ids(self, prompt: str, *pictures: int) -> list[int]:
        """What transformers makes of a rendered prompt with pictures of these seeds: every
        placeholder expanded."""
        given = self.reference._inputs(
            prompt, Media(images=tuple(picture(seed) for seed in pictures))
        )["input_ids"]
        found: list[int] = given[0].tolist()
        return found

    def sanitized(self, messages: list[dict[str, Any]]) -> list[int]:
        """What transformers makes of a conversation when it is told that the callers' words are no
        tokens."""
        found: list[int] = self.reference.tokenizer.apply_chat_template(
            messages,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
        )["input_ids"]
        return found

    @property
    def tokens(self) -> dict[int, str]:
        """The special tokens."""
        return {
            number: str(token)
            for number, token in self.reference.tokenizer.added_tokens_decoder.items()
        }

    def specials(self, ids: list[int]) -> Counter[str]:
        """How often each special token is among the ids; a run of placeholders is one."""
        return Counter(self.tokens[number] for number in self.folded(ids) if number in self.tokens)

    def folded(self, ids: list[int]) -> list[int]:
        """With one placeholder for each picture."""
        return [
            n
            for at, n in enumerate(ids)
            if self.tokens.get(n) != self.placeholder or at == 0 or ids[at - 1] != n
        ]


@contextmanager
def on_tour(family: Family, plain: Path, folder: Path) -> Iterator[Troupe]:
    """The tiny checkpoint `plain` with another tokenizer, made in `folder`."""
    with_merges(plain, folder, "sentencepiece" if family == "llava" else "bytes")
    with served(folder, **OPTIONS) as server, LLM(run_dir=server.run_dir) as llm:
        running = AsyncFace(AsyncLLM(run_dir=server.run_dir))
        faces: list[Face] = [OfflineFace(llm), running, HttpFace(server)]
        yield Troupe(
            family, folder, {face.name: face for face in faces}, llm, server, reference_for(folder)
        )
        running.close()


def image(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(seed)))}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}
