"""The preprocessor's shell: messages in, messages out. Without torch, transformers or a decoder.

A request's text is rendered and tokenised here, at once, unless it brings a template of its own,
which a decode worker runs. Its items go to the decode workers, or come from the store of features,
or join an item that is being decoded for somebody else. When all are there the prepared request
leaves.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from ...protocol import topology
from ...protocol.chat_templates.reasoning import marks_of
from ...protocol.config.roles import PreprocessorConfig
from ...protocol.edges.client_to_preprocessor import Prepare, Tokenize
from ...protocol.edges.control import Cache, Excuse, Gone, Kill, Peer
from ...protocol.edges.decode_worker_to_preprocessor import (
    ChatRendered,
    Decoded,
    DecodeFailed,
    DocumentRead,
    GuideChecked,
    TextRead,
)
from ...protocol.edges.encoder_cache_to_preprocessor import FeaturesRead, FeaturesWanted
from ...protocol.edges.fetcher_to_preprocessor import Fetched
from ...protocol.edges.preprocessor_to_client import PreparedCopy, Previewed, Tokenized
from ...protocol.edges.preprocessor_to_scheduler import Submit
from ...protocol.edges.shared import RequestFailed
from ...protocol.edges.view import Seen
from ...protocol.memory.blobs import BlobReader
from ...protocol.requests.guide import needs_check
from ...protocol.requests.prepared import Timing
from ...protocol.requests.request import ChatPrompt, Request
from ..jobs.identity import item_key, look_salt
from ..kernel.actor import Actor, run
from ..kernel.launch import Launch
from ..kernel.tombstones import Tombstones
from ..prompting.prompt import PromptRenderer, Rendered
from ..prompting.splice import Splicer
from ..prompting.tokens import read_tokenizer
from . import view
from .assembly import Assembler, check_room
from .decoding import ItemDecoding
from .documents import has_documents
from .effort import effort_of
from .feeding import Feeds
from .hashing import Hashing
from .identities import Identities, cache_miss
from .open_requests import OpenRequests
from .page_plans import PagePlans, in_era
from .pending_request import UNRENDERED, PendingRequest, brings_template
from .questions import Questions
from .shell import Shell, failure_of
from .thinking import ThinkingFinder
from .validation import RequestValidator, without_ids
from .vectors import cut, worded


class Preprocessor(Actor):
    """Owns features and processor cache; the workers are its hands."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._reader = BlobReader(launch.directory)
        self._over = Tombstones()
        self._era = ""
        """Of the keys of requests that come now: see `key_salt`."""
        self._epochs: dict[str, int] = {}
        self._pids: dict[str, int] = {}
        """Of the decode workers, like their epochs."""
        self._count = {"prepared": 0, "previewed": 0}

    async def on_start(self, config: bytes) -> dict[str, int]:
        self.config = msgspec.json.decode(config, type=PreprocessorConfig)
        self._identities = Identities(self.config.hasher, self._reader)
        model, context = self.config.model, self.config.max_model_len
        self._tokenizer = tokenizer = read_tokenizer(model)
        self._validator = RequestValidator(self.config, tokenizer.longest)
        splicer = Splicer(model.placeholders, tokenizer, model.frame)
        template = self.config.chat_template
        self._renderer = PromptRenderer(model, tokenizer, splicer, template, context)
        marks = marks_of(self.config.reasoning_parser, template, model.model_type)
        self._thinking = ThinkingFinder(marks, tokenizer, model.vocab)
        self._assembler = Assembler(model, splicer, self._renderer, context)
        self._shell = shell = Shell(
            self.send,
            kill=lambda role: self.link.send(Kill(role, self._epochs[role])),
            excuse=lambda role, epoch: self.link.send(Excuse(role, (epoch,))),
            later=self._later,
            complete=self._submit,
            fail=lambda pending, failure: self._open.fail(pending, failure),
            rendered=self._rendered,
            give_back=lambda request: self._open.say_read(request),
            read=lambda pending: self._guarded(pending, lambda: self._expand(pending)),
            guarded=self._guarded,
            effort=lambda role: effort_of(self._pids[role], time.monotonic()),
        )
        self._decoding = ItemDecoding(self.config, self._identities, shell)
        self._questions = Questions(self._decoding, shell)
        self._hashing = Hashing(self._identities, shell, self.tasks.start_soon, self._decoding.ids)
        self._feeds = Feeds(self._decoding, shell)
        self._plans = PagePlans(self.config, self._validator, self._identities)
        self._open = OpenRequests(
            self.send, self.catch_up, self._decoding, self._feeds, self._identities
        )
        return {}

    async def on_stop(self) -> None:
        self._decoding.close()
        self._reader.close()

    def counters(self) -> dict[str, float]:
        open_ones = {"open_requests": len(self._open), "open_documents": len(self._feeds)}
        counted = {**self._count, "failed": self._open.failed}
        return {**counted, **open_ones, **self._decoding.counters()}

    def seen(self) -> Seen:
        return view.seen(self._open, self._decoding.store)

    # messages

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Prepare(request):
                self._accept(request, False, ())
            case Fetched(request) if self.peers.departed(request.client):
                self._open.give_back(request, True)
            case Fetched(request, timings):
                self._accept(request, True, timings)
            case Tokenize(request):
                self._tokenize(request)
            case Decoded():
                self._decoding.decoded(sender, message)
            case DecodeFailed(job, failure):
                self._decoding.failed(sender, job, failure)
            case GuideChecked() | ChatRendered() | DocumentRead() | TextRead():
                self._questions.answered(sender, message)
            case FeaturesWanted(keys):
                self._feeds.wanted(keys)
            case FeaturesRead(keys):
                self._decoding.returned(keys)
            case _:  # what the encoder-cache knows from before this start
                self._decoding.told(message)

    def on_end(self, ids: tuple[str, ...]) -> None:
        self._over.add(ids)
        for id in ids:
            if (pending := self._open.get(id)) is not None:
                self._open.drop(pending)
            self._feeds.end(id)

    def on_reset(self, cache: Cache, number: int) -> None:
        if cache == "media":
            self._era = str(number)
            self._identities.clear()
            self._decoding.reset()

    def on_peer(self, role: str, peer: Peer) -> None:
        if topology.kind_of(role) == topology.DECODE_WORKER:
            self._epochs[role], self._pids[role] = peer.epoch, peer.pid
            self._decoding.pool.add_worker(role)
            self._decoding.pump()

    def on_gone(self, gone: Gone) -> None:
        role, epoch = gone.role, gone.epoch
        self._reader.forget(writer := gone.incarnation)
        match topology.kind_of(role):
            case topology.DECODE_WORKER if self._epochs.get(role) == epoch:
                self._worker_gone(role, epoch, gone.outside)
            case topology.ENCODER_CACHE:
                self._decoding.reader_gone()
            case topology.CLIENT:
                self._open.drop_all(lambda one: one.request.client == writer)
            case topology.FETCHER:
                # Clients have theirs fetched again; who brings the same bytes himself goes on.
                written = partial(self._reader.written_by, writer)
                self._open.drop_all(lambda one: any(written(blob.segment) for blob in one.blobs))

    # requests

    def _accept(self, request: Request, fetched: bool, timings: tuple[Timing, ...]) -> None:
        known = self._open.get(request.id)
        late = known is not None and known.request.attempt >= request.attempt
        if late or request.id in self._over:
            self._open.give_back(request, fetched)
            return
        if known is not None:
            self._open.drop(known)
        self._feeds.end(request.id)
        start = time.monotonic()
        try:
            if self.config.ignore_ids:
                request = without_ids(request)
            request = in_era(request, self._era)
            request = worded(request, self.config.model.pooler, self._validator.most_text)
            self._validator.check(request)
            later = brings_template(request) or has_documents(request)
            rendered = UNRENDERED if later else self._renderer.render(request.prompt, request.media)
            sampling = self._tokenizer.spelled(request.sampling, self.config.model.vocab)
        except Exception as error:  # by structure: one request's fault ends one request
            self._open.refuse(request, fetched, failure_of(error))
            return
        told = [*timings, Timing("preprocess", start, time.monotonic())]
        pending = PendingRequest(request, fetched, rendered, told, sampling)
        self._open.add(pending)
        self._guarded(pending, lambda: self._begin(pending))

    def _begin(self, pending: PendingRequest) -> None:
        request = pending.request
        if has_documents(request):
            how = self._plans.of_documents(request)
            self._hashing.do(pending, partial(self._questions.want_documents, how=how))
        elif brings_template(request):
            self._questions.want_rendering(pending)
        else:
            self._want_items(pending)

    def _expand(self, pending: PendingRequest) -> None:
        """It is known what its documents hold."""
        self._plans.expand(pending)
        request = pending.request
        self._validator.check(request)
        if not brings_template(request):
            pending.rendered = self._renderer.render(request.prompt, request.media)
        self._begin(pending)

    def _rendered(self, pending: PendingRequest, rendered: Rendered) -> None:
        """By a worker."""
        pending.rendered = rendered
        if pending.question:
            self._tell_tokens(pending.request, rendered)
            self._open.release(pending)
        else:
            self._guarded(pending, lambda: self._want_items(pending))

    def _want_items(self, pending: PendingRequest) -> None:
        """Of a request that is rendered."""
        request, context = pending.request, self.config.max_model_len
        sampling = self._thinking.of(pending.sampling, request.prompt, pending.rendered)
        pending.sampling = sampling
        pending.rendered = cut(pending.rendered, request, self._tokenizer, context)
        if (token_ids := pending.rendered.token_ids) is not None and not request.preview:
            check_room(request, len(token_ids), context, self.config.model)
        self._hashing.do(pending, self._want_all)

    def _want_all(self, pending: PendingRequest, digests: list[str | None]) -> None:
        guide = pending.sampling.guide
        if guide is not None and needs_check(guide):
            self._questions.want_guide(pending, guide)
        pending.digests = digests
        pending.entries = [None] * len(digests)
        for index in range(len(digests)):
            if index in pending.pages:
                self._plans.lay(pending, index)
            else:
                self._want(pending, index)
        self._decoding.pump()
        if pending.complete:
            self._submit(pending)

    def _want(self, pending: PendingRequest, index: int, again: bool = False) -> None:
        """Pin what it becomes, or wait; `again`: that was there. Raises RequestError."""
        request, item = pending.request, pending.request.media[index]
        digest = self._identities.identify(pending, index)
        options = self._plans.options(request, index)
        key = item_key(digest, item.modality, *options)
        # What has been decoded is known better than by its headers.
        look = request.preview and self._decoding.store.get(key) is None
        if look:
            options = options._replace(salt=look_salt(options.salt))
            key = item_key(digest, item.modality, *options)
        elif self.config.recalls:
            lasting = self._plans.options(request, index, lasting=True)  # whatever is reset
            pending.names[index] = item_key(digest, item.modality, *lasting)
        if not self._decoding.want(pending, index, key, options, look, again):
            raise cache_miss(request, index, again)

    def _submit(self, pending: PendingRequest) -> None:
        if pending.feed is not None:
            self._feeds.made(pending)
            return
        request = pending.request
        try:
            options = self._validator.options.in_effect(request)
            if request.preview:
                self._tell_cost(pending, self._assembler.cost(pending, options))
                return
            prepared = self._assembler.assemble(pending, options)
        except Exception as error:
            self._open.fail(pending, failure_of(error))
            return
        # Not before the prompt is known to be right, since an encoder that rests begins at once;
        # before Submit, since Need must not find nothing.
        self._feeds.open(pending)
        self._decoding.ids.keep(pending)
        submitted_to = 0
        # A later attempt is resumed by its client, which knows what was delivered.
        if request.attempt == 0:
            submitted_to = self.peers.epoch_of(topology.SCHEDULER)
            self.send(topology.SCHEDULER, Submit(prepared))
        text = pending.rendered.shown if isinstance(request.prompt, ChatPrompt) else None
        self.send(request.client, PreparedCopy(prepared, submitted_to, text, pending.sources()))
        self._count["prepared"] += 1
        self._open.release(pending)
        self._open.say_read(request, pending.fetched and not pending.pages)

    def _tell_cost(self, pending: PendingRequest, cost: Previewed) -> None:
        self.send(pending.request.client, cost)
        self._count["previewed"] += 1
        self._open.release(pending)
        self._open.say_read(pending.request, pending.fetched)

    def _tokenize(self, request: Request) -> None:
        try:
            self._validator.check(request)
            if brings_template(request):
                pending = PendingRequest(request, False, UNRENDERED, [], request.sampling)
                pending.question = True
                self._open.add(pending)
                self._questions.want_rendering(pending)
            else:
                self._tell_tokens(request, self._renderer.render(request.prompt, request.media))
        except Exception as error:
            self.send(request.client, RequestFailed(request.id, request.attempt, failure_of(error)))

    def _tell_tokens(self, request: Request, rendered: Rendered) -> None:
        ids = tuple(self._renderer.tokens(rendered))
        self.send(request.client, Tokenized(request.id, ids, rendered.shown))

    # ends

    def _guarded(self, pending: PendingRequest, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._open.fail(pending, failure_of(error))

    def _worker_gone(self, role: str, epoch: int, outside: bool) -> None:
        """Its features are lost: who has them pinned wants them again."""
        lost = self._decoding.worker_gone(role, epoch, outside)
        for pending in self._open:
            for index, entry in enumerate(pending.entries):
                if entry in lost and not pending.over:
                    pending.entries[index] = None
                    self._guarded(pending, partial(self._want, pending, index, again=True))
        self._decoding.pump()

    def _later(self, seconds: float, step: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer whose exceptions end the process like a handler's."""
        return asyncio.get_running_loop().call_later(seconds, self._guard, step)


def main(launch: Launch) -> None:
    run(Preprocessor(launch))
