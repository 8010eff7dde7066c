"""One request as it enters the pipeline: what is decided once has been decided here."""

from typing import Any, Literal

import msgspec

from ..memory.blobs import BlobRef
from .document import DocumentOptions
from .pooling import PoolingParams
from .sampling import SamplingParams
from .sound import CutOptions, Stretch

Modality = Literal["image", "video", "audio", "prompt", "document"]
MODALITIES: tuple[Modality, ...] = ("image", "video", "audio")
"""Of what a model takes. `prompt` is that of the one item of an `EmbedsPrompt`; in the place of a
`document` stand pictures of its pages, or its text, before anything of a prompt is made."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A tagged member of one of the unions below."""


# Where an item's content is. A frontend never decodes media: encoded bytes stay encoded until the
# decode worker.


class Url(_Part, frozen=True):
    """To be downloaded by the fetcher: http, https or file."""

    url: str


class Encoded(_Part, frozen=True):
    """A container's bytes (PNG, mp4, wav ...); which one, is found by content, not by name."""

    blob: BlobRef


class Page(_Part, frozen=True):
    """A page of an encoded document, to be drawn."""

    blob: BlobRef
    """Of the whole document."""
    number: int
    """Counted from 1."""
    width: int
    height: int
    """Of the picture, in pixels."""


class Piece(_Part, frozen=True):
    """A piece of an encoded sound, to be decoded without the rest."""

    blob: BlobRef
    """Of the whole sound."""
    stretch: Stretch


class Pixels(_Part, frozen=True):
    """One decoded picture [H, W, C] uint8 (from a PIL image, array or tensor)."""

    blob: BlobRef
    mode: str
    """PIL mode of the array: L, LA, RGB, RGBA."""


class Frames(_Part, frozen=True):
    """A decoded clip [T, H, W, 3] uint8."""

    blob: BlobRef
    fps: float | None = None
    duration: float | None = None
    total_num_frames: int | None = None
    frames_indices: tuple[int, ...] | None = None
    do_sample_frames: bool = True


CLIP_FACTS = ("fps", "duration", "total_num_frames", "frames_indices", "do_sample_frames")
"""What a caller may say of the frames of a clip: fields of `Frames` and `FrameList`."""


class Samples(_Part, frozen=True):
    """Decoded sound, float32 [n] or [channels, n]."""

    blob: BlobRef
    rate: int | None = None
    """Samples per second; None: at the model's own rate."""


class Embeds(_Part, frozen=True):
    """Ready-made embeddings, floating point [rows, hidden]."""

    blob: BlobRef
    grid: tuple[int, int, int] | None = None


class FrameList(_Part, frozen=True):
    """A clip as encoded pictures, one behind the other in the blob, of `sizes` bytes."""

    blob: BlobRef
    sizes: tuple[int, ...]
    fps: float | None = None
    duration: float | None = None
    total_num_frames: int | None = None
    frames_indices: tuple[int, ...] | None = None
    do_sample_frames: bool | None = None


class PackedEmbeds(_Part, frozen=True):
    """Embeddings as another program sends them: a torch.save, .npy or safetensors file, opened in a
    decode worker alone.

    The last `grid_bytes` of the blob are such a file for the grid, where it does not come as
    numbers.
    """

    blob: BlobRef
    grid: tuple[int, int, int] | None = None
    grid_bytes: int = 0


Source = (
    Url | Encoded | Page | Piece | Pixels | Frames | Samples | Embeds | FrameList | PackedEmbeds
)


class MediaItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A picture, clip or sound, in the prompt's order; or the prompt's own embeddings."""

    modality: Modality
    source: Source | None
    """None: the caller gave only `uuid` and expects the content to be held."""
    where: str
    """The caller's name for it, for errors: `messages[0].content[1]`."""
    uuid: str | None = None
    options: dict[str, Any] = {}
    """Its own, of the model's processor; they go before the request's."""
    digest: str | None = None
    """Of its bytes, behind the hasher's name, where that is known: `blake3:...`; of a page, the
    document's."""
    document: DocumentOptions | None = None
    """What is wanted of it, where it is one."""
    cut: CutOptions | None = None
    """Of a sound in a preview: it is to be cut so, and its first piece stands for it."""


# The prompt, in one of four forms.


class Text(_Part, frozen=True):
    text: str


class Slot(_Part, frozen=True):
    """The place of `media[index]` among the text parts of a chat message."""

    index: int


class ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    role: str
    content: tuple[Text | Slot, ...]
    extra: dict[str, Any] = {}
    """`name`, `tool_calls`, `tool_call_id`, `reasoning_content`: what a template may use beside
    role and content."""


class ChatPrompt(_Part, frozen=True):
    """A conversation; the preprocessor renders it with the model's chat template."""

    messages: tuple[ChatMessage, ...]
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    tools: tuple[dict[str, Any], ...] = ()
    template: str | None = None
    template_kwargs: dict[str, Any] = {}
    framed: bool | None = None
    """It gets the tokenizer's own beginning and end; None: as transformers does."""


class TextPrompt(_Part, frozen=True):
    """A finished text with the model's placeholders; special tokens in it are special tokens."""

    text: str
    framed: bool = True
    """It gets the tokenizer's own beginning and end."""


class TokenPrompt(_Part, frozen=True):
    """Ready token ids; one placeholder token per item, or per position already expanded."""

    token_ids: tuple[int, ...]


class EmbedsPrompt(_Part, frozen=True):
    """No tokens: the rows of the only item, of modality `prompt`, are the input embeddings."""


Prompt = ChatPrompt | TextPrompt | TokenPrompt | EmbedsPrompt


Want = Literal["token", "vector"]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One accepted request; (id, attempt) names it on every edge, and the higher attempt counts."""

    id: str
    attempt: int = 0
    client: str
    """The reply edge: the incarnation whose inbox gets the answer (`topology.name_of`)."""
    tenant: str = ""
    """A keyed digest of the API key, never the key."""
    arrival: float
    """Seconds by time.monotonic, shared by all processes: its place in every queue."""
    deadline: float | None = None
    """Seconds by time.monotonic after which nobody waits any more."""
    prompt: Prompt
    media: tuple[MediaItem, ...] = ()
    sampling: SamplingParams
    pooling: PoolingParams | None = None
    """What is wanted where it is vectors; nothing is sampled then."""
    preview: bool = False
    """Only what its prompt would cost is wanted, from the headers of its media alone."""
    era: str | None = None
    """Of the keys of its media, once it has been prepared: `Prepared.era`. None: the present."""
    mm_processor_kwargs: dict[str, Any] = {}
    media_io_kwargs: dict[str, dict[str, Any]] = {}
    priority: int = 0
    """The lowest goes first, whenever it came."""
    streamed: bool = True
    """Somebody reads its tokens as they come; False: steps may be long."""

    @property
    def want(self) -> Want:
        """What the answer is made of."""
        return "token" if self.pooling is None else "vector"
