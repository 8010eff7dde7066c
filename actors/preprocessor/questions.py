"""Work for decode workers that brings no features: verdicts on guides, conversations rendered by
their callers' templates, what is in a document."""

from collections.abc import Callable
from functools import partial

import msgspec

from ...protocol.bounded import Bounded
from ...protocol.edges.decode_worker_to_preprocessor import (
    ChatRendered,
    DocumentRead,
    GuideChecked,
    TextRead,
)
from ...protocol.edges.preprocessor_to_decode_worker import (
    CheckGuide,
    ReadDocument,
    ReadText,
    RenderChat,
)
from ...protocol.errors import Failure, RequestError
from ...protocol.requests.guide import Guide
from ...protocol.requests.request import ChatPrompt
from ..jobs.identity import ItemOptions, item_key
from ..prompting.prompt import Rendered
from .decoding import ItemDecoding, Task
from .pending_request import Document, PendingRequest, Waiter
from .shell import Shell

TEXT_PAGES = 16
"""Pages whose text is read in one piece of work: others wait for it."""
KNOWN = 64
"""Documents whose layouts are kept: a conversation brings its document in every turn."""
KEPT_TEXT = 1 << 16
"""Characters of a text that is kept so, at most."""
CHANGED = Failure("internal", "The document's bytes changed while they were read.")


class Questions:
    """What is asked of workers beside features. Shares the pool with the items."""

    def __init__(self, decoding: ItemDecoding, shell: Shell) -> None:
        self._decoding, self._shell = decoding, shell
        self._documents: Bounded[str, DocumentRead] = Bounded(KNOWN)

    # asked for a request

    def want_guide(self, pending: PendingRequest, guide: Guide) -> None:
        """Wait for a worker's verdict: guides are built where that may take a process with it.
        Raises RequestError."""
        match self._decoding.guides.verdict(guide):
            case Guide() as known:
                pending.take_guide(known)
                return
            case Failure() as failure:
                raise RequestError(msgspec.structs.replace(failure, part=guide.part))
        pending.unchecked = True
        task = self._decoding.pool.task(key := self._decoding.guides.key(guide))
        if task is None:
            job = CheckGuide(next(self._decoding.jobs), guide)
            task = self._decoding.enqueue(pending, key, job, True, first=True)
        task.waiters.append(Waiter(pending, None))

    def want_rendering(self, pending: PendingRequest) -> None:
        """Wait for a worker to render the conversation: a caller's template runs where it can be
        killed."""
        request = pending.request
        assert isinstance(request.prompt, ChatPrompt)
        modalities = tuple(item.modality for item in request.media)
        job = RenderChat(next(self._decoding.jobs), request.prompt, modalities)
        pending.unrendered = True
        task = self._decoding.enqueue(pending, f"chat:{job.job}", job, True)
        task.waiters.append(Waiter(pending, None))
        self._decoding.pump()

    def want_documents(
        self,
        pending: PendingRequest,
        digests: list[str | None],
        how: Callable[[int], ItemOptions],
    ) -> None:
        """Wait until it is known what its documents hold. `how`: their pages become features, by
        index. Raises RequestError."""
        items = enumerate(pending.request.media)
        pending.documents = {at: Document() for at, one in items if one.modality == "document"}
        for index in list(pending.documents):
            digest = digests[index]
            assert digest is not None
            self._want_document(pending, index, digest, how(index))
        self._decoding.pump()

    def _want_document(
        self, pending: PendingRequest, index: int, digest: str, options: ItemOptions
    ) -> None:
        item, preview = pending.request.media[index], pending.request.preview
        processor, io, salt = options
        about = {**io, "document": msgspec.to_builtins(item.document), "preview": preview}
        key = item_key(digest, "document", processor, about, salt)
        known = self._documents.use(key)
        if known is not None:
            self._take_document(pending, index, known)
            return
        self._decoding.refuse_banned(key, item)
        task = self._decoding.pool.task(key)
        if task is None:
            job = ReadDocument(next(self._decoding.jobs), item, processor, io, preview)
            task = self._decoding.enqueue(pending, key, job, False)
        task.waiters.append(Waiter(pending, index))

    def _want_texts(self, pending: PendingRequest, index: int, found: DocumentRead) -> None:
        item = pending.request.media[index]
        numbers = list(dict.fromkeys(page.number for page in found.pages))
        for start in range(0, len(numbers), TEXT_PAGES):
            some = tuple(numbers[start : start + TEXT_PAGES])
            about = {"text": some}
            key = item_key(found.digest, "document", {}, about, pending.request.tenant)
            self._decoding.refuse_banned(key, item)
            task = self._decoding.pool.task(key)
            if task is None:
                job = ReadText(next(self._decoding.jobs), item, some)
                task = self._decoding.enqueue(pending, key, job, False)
            task.waiters.append(Waiter(pending, index))
            pending.documents[index].missing += 1

    # answered by a worker

    def answered(
        self, worker: str, message: GuideChecked | ChatRendered | DocumentRead | TextRead
    ) -> None:
        match message:
            case GuideChecked(job, guide):
                self._guide_checked(worker, job, guide)
            case ChatRendered():
                self._chat_rendered(worker, message)
            case DocumentRead():
                self._document_read(worker, message)
            case TextRead():
                self._text_read(worker, message)

    def _guide_checked(self, worker: str, job: int, guide: Guide) -> None:
        """The guide can be built; `guide` is how the runner wants it."""
        task = self._decoding.landed(worker, job)
        if task is not None:
            self._decoding.pool.finish(task)
            self._decoding.guides.learn(task.key, guide)
            for waiter in task.waiters:
                waiter.pending.take_guide(guide)
                if waiter.pending.complete:
                    self._shell.complete(waiter.pending)
        self._decoding.pump()

    def _chat_rendered(self, worker: str, message: ChatRendered) -> None:
        task = self._decoding.landed(worker, message.job)
        if task is not None:
            self._decoding.pool.finish(task)
            ids, text, order = message.token_ids, message.text, message.order
            for waiter in task.waiters:
                waiter.pending.unrendered = False
                rendered = Rendered(ids, text, order, True, message.framed)
                self._shell.rendered(waiter.pending, rendered)
        self._decoding.pump()

    def _document_read(self, worker: str, message: DocumentRead) -> None:
        task = self._landed(worker, message.job)
        if task is not None:
            self._decoding.pool.finish(task)
            if len(message.text or "") <= KEPT_TEXT:
                self._documents[task.key] = message
            for waiter in task.waiters:
                assert waiter.index is not None
                take = partial(self._take_document, waiter.pending, waiter.index, message)
                self._shell.guarded(waiter.pending, take)
        self._decoding.pump()

    def _text_read(self, worker: str, message: TextRead) -> None:
        task = self._landed(worker, message.job)
        if task is not None:
            self._decoding.pool.finish(task)
            assert isinstance(task.decode, ReadText)
            for waiter in task.waiters:
                assert waiter.index is not None
                document = waiter.pending.documents[waiter.index]
                document.texts.update(zip(task.decode.numbers, message.texts, strict=True))
                document.missing -= 1
                self._tell_if_read(waiter.pending)
        self._decoding.pump()

    def _landed(self, worker: str, job: int) -> Task | None:
        """Of a document; None also where its bytes may have changed while they were read."""
        task = self._decoding.landed(worker, job)
        if task is not None and task.stale:
            self._decoding.again(task, CHANGED)
            return None
        return task

    def _take_document(self, pending: PendingRequest, index: int, found: DocumentRead) -> None:
        document = pending.documents[index]
        document.found = found
        wanted = pending.request.media[index].document
        if found.pages and wanted is not None and wanted.text != "none":
            self._want_texts(pending, index, found)
        self._tell_if_read(pending)

    def _tell_if_read(self, pending: PendingRequest) -> None:
        if not pending.unread:
            self._shell.read(pending)
