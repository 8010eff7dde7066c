"""The decode worker: one media item at a time, under limits, in a process that may be killed in the
middle of it."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...gpu_runtime.processing import Part as MadePart
from ...gpu_runtime.processing import load
from ...gpu_runtime.sampling.vocabulary import vocabulary_of
from ...protocol.config.roles import PreprocessorConfig
from ...protocol.edges.control import Gone
from ...protocol.edges.decode_worker_to_preprocessor import (
    ChatRendered,
    Decoded,
    DecodeFailed,
    DocumentRead,
    GuideChecked,
    PageFound,
    Part,
    TextRead,
)
from ...protocol.edges.preprocessor_to_decode_worker import (
    CheckGuide,
    Decode,
    ForgetDocument,
    FreeFeatures,
    ReadDocument,
    ReadText,
    RenderChat,
)
from ...protocol.errors import Failure, RequestError
from ...protocol.memory.blobs import Arena, BlobError, BlobReader, BlobRef
from ...protocol.memory.shortage import NO_SPACE, SpaceError, shortage
from ...protocol.requests.document import DocumentOptions
from ...protocol.requests.prepared import Timing
from ...protocol.requests.request import Encoded, MediaItem, Page
from ..jobs.guides import GUIDE_MEMORY, TOO_LARGE, GuideChecker
from ..jobs.identity import BYTES_LOST, blob_of, content_digest, item_key, page_digest, part_keys
from ..jobs.limits import MediaJob, cpu_seconds, too_slow
from ..kernel.blocking import BlockingActor
from ..kernel.budget import BudgetError, CpuSpent, memory_budget, within_cpu
from ..kernel.launch import Launch, give_way
from ..prompting.prompt import TEMPLATE_TOO_LARGE, PromptRenderer
from ..prompting.splice import Splicer
from ..prompting.tokens import read_tokenizer
from .documents import texts_of
from .item import DECODED, LOOKED_AT, ItemDecoder, Made
from .page_layouts import find_pages

T = TypeVar("T")

TEMPLATE_MEMORY = 512 << 20
"""Bytes that a request's own template may add to the process while it renders."""
log = logging.getLogger(__name__)


class _Document(NamedTuple):
    """The one that a page was drawn of last: another page of it is neither copied nor hashed."""

    salt: str
    """Whose it is: nobody shares what another has sent."""
    digest: str
    data: bytes

    def is_of(self, job: Decode, hasher: str) -> bool:
        return (self.salt, f"{hasher}:{self.digest}") == (job.key_salt, job.item.digest)


class DecodeWorker(BlockingActor):
    """Copies the bytes, decodes, makes features, keeps them in its arena until it is told that
    nobody reads them."""

    config: PreprocessorConfig

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._reader = BlobReader(launch.directory)
        self._arena: Arena | None = None
        self._held: dict[int, list[BlobRef]] = {}
        self._document: _Document | None = None
        self._count = {"decoded": 0, "looked": 0, "failed": 0}

    def on_start(self, config: bytes) -> dict[str, int]:
        import torch

        torch.set_num_threads(1)  # a pool of workers shares the cores with the runner
        self.config = msgspec.json.decode(config, type=PreprocessorConfig)
        model, context = self.config.model, self.config.max_model_len
        tokenizer = read_tokenizer(model)
        self._renderer = PromptRenderer(
            model, tokenizer, Splicer(model.placeholders, tokenizer, model.frame), None, context
        )
        processor, limits = load(model.path, model.pixels), self.config.media
        self._decoder = ItemDecoder(processor, model.embed_width, limits, context, model.hidden)
        self._guides = GuideChecker(lambda: vocabulary_of(model))
        # Room for what is kept, and for what is made while all that is kept is being read.
        limit = self.config.cache_bytes // self.config.workers + self.config.media.memory
        self._arena = Arena(self.launch.directory, f"{self.launch.role}.{self.launch.epoch}", limit)
        return {}

    def on_stop(self) -> None:
        if self._arena is not None:
            self._arena.close()
        self._reader.close()

    def on_gone(self, gone: Gone) -> None:
        self._reader.forget(f"{gone.role}.{gone.epoch}")

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Decode():
                self.send(sender, self._decode(message))
            case ReadDocument():
                self.send(sender, self._guarded(message, lambda: self._read(message)))
            case ReadText():
                self.send(sender, self._guarded(message, lambda: self._read_text(message)))
            case CheckGuide():
                self.send(sender, self._check(message))
            case RenderChat():
                self.send(sender, self._render(message))
            case FreeFeatures(jobs):
                for job in jobs:
                    self._free(job)
            case ForgetDocument():
                self._document = None

    def counters(self) -> dict[str, float]:
        assert self._arena is not None
        used, held = self._arena.used, self._arena.held
        return {**self._count, "arena_bytes_used": used, "arena_bytes_held": held}

    def _check(self, job: CheckGuide) -> GuideChecked | DecodeFailed:
        def check() -> GuideChecked:
            self._guides.load()  # the vocabulary is not of one guide's memory
            with memory_budget(GUIDE_MEMORY):
                return GuideChecked(job.job, self._guides.check(job.guide))

        return _answer(job.job, check, TOO_LARGE, "The grammar could not be checked.")

    def _render(self, job: RenderChat) -> ChatRendered | DecodeFailed:
        def render() -> ChatRendered:
            media = tuple(MediaItem(modality, None, "") for modality in job.modalities)
            with memory_budget(TEMPLATE_MEMORY):
                rendered = self._renderer.render(job.prompt, media)
            return ChatRendered(
                job.job, rendered.token_ids, rendered.text, rendered.order, rendered.framed
            )

        return _answer(
            job.job, render, TEMPLATE_TOO_LARGE, "The conversation could not be rendered."
        )

    def _decode(self, job: Decode) -> Decoded | DecodeFailed:
        held = self._document
        if held and isinstance(job.item.source, Page) and not held.is_of(job, self.config.hasher):
            self._document = None  # before the budget is reckoned, not in the middle of the work
        return self._guarded(job, lambda: self._features(job))

    def _guarded(self, job: MediaJob, work: Callable[[], T]) -> T | DecodeFailed:
        """What is made of an item's bytes, or why there is nothing."""
        try:
            with memory_budget(self.config.media.memory):
                made = work()
        except RequestError as error:
            failure = error.failure
        except BudgetError:
            failure = Failure("too_large", "The item takes more memory than one item may.")
        except CpuSpent:
            failure = too_slow(job, self.config.media)
        except Exception as error:  # what a decoder raises on hostile bytes is this item's alone
            failure = shortage(error) or self._undecodable(job, error)
        else:
            look = isinstance(job, Decode) and job.look
            self._count["decoded" if isinstance(job, Decode) and not look else "looked"] += 1
            return made
        self._count["failed"] += 1
        self._free(job.job)
        failure = msgspec.structs.replace(failure, part=failure.part or job.item.where)
        return DecodeFailed(job.job, failure)

    def _undecodable(self, job: MediaJob, error: Exception) -> Failure:
        if isinstance(error, BlobError):
            return BYTES_LOST
        log.warning("job %d: %s", job.job, type(error).__name__)
        return Failure("unprocessable_media", f"The {job.item.modality} cannot be decoded.")

    def _bytes(self, item: MediaItem) -> tuple[bytes, str]:
        """A copy of an item's bytes, and their digest."""
        assert item.source is not None
        with self._reader.view(blob_of(item.source)) as view:
            data = bytes(view)
        return data, content_digest(self.config.hasher, item.source, data)

    def _page_bytes(self, job: Decode, page: Page) -> tuple[bytes, str]:
        """A copy of its document's bytes, and its own digest."""
        if self._document is None:
            whole = msgspec.structs.replace(job.item, source=Encoded(page.blob))
            data, digest = self._bytes(whole)
            self._document = _Document(job.key_salt, digest, data)
        return self._document.data, page_digest(self.config.hasher, page, self._document.digest)

    def _features(self, job: Decode) -> Decoded:
        start = time.monotonic()
        item = job.item
        assert item.source is not None
        if isinstance(item.source, Page):
            data, digest = self._page_bytes(job, item.source)
        else:
            data, digest = self._bytes(item)
        options, io = job.processor_kwargs, job.io_kwargs
        by = LOOKED_AT if job.look else DECODED
        work = partial(self._decoder.features, item.modality, item.source, data, options, io, by)
        made = within_cpu(cpu_seconds(job, self.config.media), work)
        key = item_key(digest, item.modality, options, io, job.key_salt)
        named = zip(part_keys(key, len(made.item.parts)), made.item.parts, strict=True)
        parts = tuple(self._keep(job, key, part, made.dtype) for key, part in named)
        timings = (Timing("decode", start, time.monotonic(), item.modality),)
        return decoded(job.job, digest, key, made, parts, timings)

    def _read(self, job: ReadDocument) -> DocumentRead:
        data, digest = self._bytes(job.item)
        model, limits = self.config.model, self.config.media
        wanted = job.item.document or DocumentOptions()
        work = partial(
            find_pages, data, None if wanted.text == "only" else self._decoder,
            job.processor_kwargs, job.io_kwargs, wanted, limits,
            None if job.preview else self.config.max_model_len,
            model.siblings.get("image") == "image",
        )  # fmt: skip
        found = within_cpu(cpu_seconds(job, limits), work)
        return DocumentRead(
            job=job.job,
            digest=digest,
            pages=tuple(PageFound(page.number, *page.size, page.layout) for page in found.pages),
            layouts=tuple(
                decoded(job.job, digest, "", made, tuple(map(_bare, made.item.parts)))
                for made in found.layouts
            ),
            text=found.text,
        )

    def _read_text(self, job: ReadText) -> TextRead:
        data, _ = self._bytes(job.item)
        work = partial(texts_of, data, job.numbers)
        return TextRead(job.job, tuple(within_cpu(cpu_seconds(job, self.config.media), work)))

    def _keep(self, job: Decode, key: str, made: MadePart, dtype: str | None) -> Part:
        kept = {} if job.look else made.tensors
        tensors = {name: self._put(job.job, one, dtype) for name, one in kept.items()}
        kind = "prompt" if job.item.modality == "prompt" else made.kind
        return Part(key, kind, made.rows, tensors, made.embed_token_id)

    def _put(self, job: int, array: NDArray[Any], dtype: str | None) -> BlobRef:
        assert self._arena is not None
        try:
            ref, view = self._arena.allocate(dtype or array.dtype.name, array.shape)
        except SpaceError as error:
            raise RequestError(shortage(error) or NO_SPACE) from error
        self._held.setdefault(job, []).append(ref)
        target: NDArray[Any] = np.frombuffer(view, array.dtype).reshape(array.shape)
        target[...] = array
        return ref

    def _free(self, job: int) -> None:
        assert self._arena is not None
        for ref in self._held.pop(job, ()):
            self._arena.free(ref)


def decoded(
    job: int, digest: str, key: str, made: Made, parts: tuple[Part, ...],
    timings: tuple[Timing, ...] = (),
) -> Decoded:  # fmt: skip
    """What is told of an item."""
    item = made.item
    return Decoded(
        job=job,
        digest=digest,
        key=key,
        parts=parts,
        text=item.text,
        counts=item.counts,
        number=item.number,
        planes=None if item.planes is None else item.planes.astype("<i4").tobytes(),
        anchors=None if item.anchors is None else item.anchors.astype(np.uint8).tobytes(),
        advance=item.advance,
        tokens=item.tokens,
        look=made.look,
        timings=timings,
    )


def _bare(made: MadePart) -> Part:
    """Of a layout: without name and features."""
    return Part("", made.kind, made.rows, {}, made.embed_token_id)


def _answer(
    job: int, work: Callable[[], T], too_large: Failure, otherwise: str
) -> T | DecodeFailed:
    """What `work` makes of a caller's text, or why there is nothing: the one request ends, and
    nothing else."""
    try:
        return work()
    except RequestError as error:
        failure = error.failure
    except BudgetError:
        failure = too_large
    except Exception as error:
        if (short := shortage(error)) is None:
            log.exception("job %d: %s", job, otherwise)
        failure = short or Failure("internal", otherwise)
    return DecodeFailed(job, failure)


def main(launch: Launch) -> None:
    give_way()
    DecodeWorker(launch).run()
