"""What the preprocessor is made of, loaded from a checkpoint folder."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from thespis.actors.jobs.identity import part_keys
from thespis.actors.preprocessor.assembly import Assembler
from thespis.actors.preprocessor.pending_request import PendingRequest
from thespis.actors.preprocessor.store import FeatureEntry
from thespis.actors.prompting.prompt import PromptRenderer
from thespis.actors.prompting.splice import Splicer
from thespis.actors.prompting.tokens import TextTokenizer, read_tokenizer
from thespis.gpu_runtime import processing
from thespis.protocol.chat_templates.source import chat_template_of
from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import PreprocessorConfig
from thespis.protocol.edges.decode_worker_to_preprocessor import Decoded, Part
from thespis.protocol.facts import ModelFacts
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.prepared import Prepared
from thespis.protocol.requests.preview import ItemLook
from thespis.protocol.requests.request import (
    ChatMessage,
    ChatPrompt,
    Encoded,
    MediaItem,
    Modality,
    Prompt,
    Request,
    Slot,
    Source,
    Text,
)
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.facts import facts_of

NOWHERE = BlobRef("/dev/shm/none", 0, "uint8", (0,))


class Parts(NamedTuple):
    model: ModelFacts
    tokenizer: TextTokenizer
    splicer: Splicer

    def renderer(
        self, template: str | None = None, most_tokens: int | None = None
    ) -> PromptRenderer:
        source = chat_template_of(self.model, template)
        return PromptRenderer(self.model, self.tokenizer, self.splicer, source, most_tokens)

    def assembler(self, context: int = 2048) -> Assembler:
        return Assembler(self.model, self.splicer, self.renderer(), context)

    def embed_id(self, modality: Modality) -> int:
        """What stands for a row."""
        return self.model.placeholders[modality].embed_token_id


processor = cache(processing.load)
"""Of a folder."""


def load(folder: Path) -> Parts:
    return of_facts(facts_of(folder))


def of_facts(model: ModelFacts) -> Parts:
    tokenizer = read_tokenizer(model)
    return Parts(model, tokenizer, Splicer(model.placeholders, tokenizer, model.frame))


def config_of(folder: Path, **engine: Any) -> PreprocessorConfig:
    model = facts_of(folder)
    engine["chat_template"] = chat_template_of(model, engine.get("chat_template"))
    made = divide(EngineConfig(model=str(folder), **engine), model).roles["preprocessor"]
    assert isinstance(made, PreprocessorConfig)
    return made


def item(
    modality: Modality = "image",
    source: Source | None = None,
    where: str = "here",
    uuid: str | None = None,
) -> MediaItem:
    return MediaItem(modality, source if source is not None else Encoded(NOWHERE), where, uuid)


def chat(*content: str | int, **options: Any) -> ChatPrompt:
    """One user message: texts, and indices of items."""
    parts = tuple(Text(part) if isinstance(part, str) else Slot(part) for part in content)
    return ChatPrompt((ChatMessage("user", parts),), **options)


def request(
    prompt: Prompt, media: tuple[MediaItem, ...] = (), id: str = "r1", **fields: Any
) -> Request:
    values: dict[str, Any] = {
        "client": "client-a.1",
        "arrival": 0.0,
        "sampling": SamplingParams(max_tokens=5, seed=1),
        **fields,
    }
    return Request(id=id, prompt=prompt, media=media, **values)


def decoded(item: processing.ProcessedItem, key: str = "key", job: int = 1) -> Decoded:
    """As a worker says it, without the tensors."""
    keys = part_keys(key, len(item.parts))
    return Decoded(
        job=job,
        digest="digest",
        key=key,
        parts=tuple(
            Part(own, p.kind, p.rows, {}, p.embed_token_id)
            for own, p in zip(keys, item.parts, strict=True)
        ),
        text=item.text,
        counts=item.counts,
        number=item.number,
        planes=None if item.planes is None else item.planes.astype("<i4").tobytes(),
        anchors=None if item.anchors is None else item.anchors.tobytes(),
        advance=item.advance,
        tokens=item.tokens,
        look=ItemLook(),
        timings=(),
    )


def prepared(
    parts: Parts,
    prompt: Prompt,
    *items: tuple[Modality, processing.ProcessedItem],
    context: int = 100_000,
) -> Prepared:
    """What becomes of a prompt with these items."""
    asked = request(prompt, tuple(item(modality) for modality, _ in items))
    pending = PendingRequest(
        asked, False, parts.renderer().render(prompt, asked.media), [], asked.sampling
    )
    pending.entries = [
        FeatureEntry(decoded(made, f"key-{index}"), "worker")
        for index, (_, made) in enumerate(items)
    ]
    return parts.assembler(context).assemble(pending, {})
