"""What the preprocessor is made of, loaded from a checkpoint folder."""

from pathlib import Path
from typing import Any, NamedTuple

from thespis.actors.preprocessor.checkpoint import Checkpoint, read_checkpoint
from thespis.actors.preprocessor.families.base import Family
from thespis.actors.preprocessor.families.loading import load_family
from thespis.actors.preprocessor.prompt import PromptRenderer
from thespis.actors.preprocessor.template_source import chat_template_of
from thespis.actors.preprocessor.tokens import TextTokenizer
from thespis.protocol.blobs import BlobRef
from thespis.protocol.config import EngineConfig
from thespis.protocol.division import divide
from thespis.protocol.request import ChatMessage, ChatPrompt, Encoded, MediaItem, Modality, Prompt, Request, Slot, Source, Text
from thespis.protocol.roles import PreprocessorConfig
from thespis.protocol.sampling import SamplingParams

from ...helpers.facts import facts_of

NOWHERE = BlobRef("/dev/shm/none", 0, "uint8", (0,))


class Parts(NamedTuple):
    checkpoint: Checkpoint
    tokenizer: TextTokenizer
    family: Family

    def renderer(self, template: str | None = None) -> PromptRenderer:
        return PromptRenderer(
            self.checkpoint, self.tokenizer, self.family.placeholders, chat_template_of(self.checkpoint.info, template)
        )


def load(folder: Path) -> Parts:
    checkpoint = read_checkpoint(facts_of(folder))
    tokenizer = TextTokenizer(checkpoint.tokenizer_file, checkpoint.tokenizer)
    return Parts(checkpoint, tokenizer, load_family(checkpoint, tokenizer))


def config_of(folder: Path, **engine: Any) -> PreprocessorConfig:
    info = facts_of(folder)
    engine["chat_template"] = chat_template_of(info, engine.get("chat_template"))
    made = divide(EngineConfig(model=str(folder), **engine), info).roles["preprocessor"]
    assert isinstance(made, PreprocessorConfig)
    return made


def item(modality: Modality = "image", source: Source | None = None, where: str = "here", uuid: str | None = None) -> MediaItem:
    return MediaItem(modality, source if source is not None else Encoded(NOWHERE), where, uuid)


def chat(*content: str | int, **options: Any) -> ChatPrompt:
    """One user message: texts, and indices of items."""
    parts = tuple(Text(part) if isinstance(part, str) else Slot(part) for part in content)
    return ChatPrompt((ChatMessage("user", parts),), **options)


def request(prompt: Prompt, media: tuple[MediaItem, ...] = (), id: str = "r1", **fields: Any) -> Request:
    values: dict[str, Any] = {"client": "client-a", "arrival": 0.0, "sampling": SamplingParams(max_tokens=5, seed=1), **fields}
    return Request(id=id, prompt=prompt, media=media, **values)
