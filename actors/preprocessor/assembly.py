"""The last step: rendered prompt and decoded items become the prepared request. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from ...protocol.edges.decode_worker_to_preprocessor import Decoded, Part
from ...protocol.edges.preprocessor_to_client import Previewed
from ...protocol.errors import RequestError, invalid
from ...protocol.facts import ModelFacts
from ...protocol.refusals import EMPTY_PROMPT, beyond_context
from ...protocol.requests.pooling import MAX_BYTES
from ...protocol.requests.prepared import EffectiveOptions, Item, Prepared, Span
from ...protocol.requests.preview import ItemCost
from ...protocol.requests.request import EmbedsPrompt, Modality, Request
from ..prompting.prompt import PromptRenderer
from ..prompting.splice import Insert, Laid, Run, Splicer
from .pending_request import PendingRequest
from .positions import Block, compose


class Assembler:
    """Of one model; knows where items go and how far a prompt may reach."""

    def __init__(
        self, model: ModelFacts, splicer: Splicer, renderer: PromptRenderer, context: int
    ) -> None:
        self._model = model
        self._splicer = splicer
        self._renderer = renderer
        self._context = context

    def assemble(self, pending: PendingRequest, options: EffectiveOptions) -> Prepared:
        """Of a complete request; `options`: of its media, in effect. RequestError, for one where
        the prompt is too long."""
        request, asked = pending.request, pending.sampling
        layout = self._lay_out(pending)
        check_room(request, len(layout.token_ids), self._context, self._model)
        room = max(1, self._context - len(layout.token_ids))
        most = room if asked.max_tokens is None else min(asked.max_tokens, room)
        return Prepared(
            id=request.id,
            attempt=request.attempt,
            client=request.client,
            tenant=request.tenant,
            arrival=request.arrival,
            priority=request.priority,
            streamed=request.streamed,
            era=request.era or "",
            token_ids=tuple(layout.token_ids),
            items=tuple(layout.items),
            positions=layout.positions,
            unbroken=unbroken(layout.token_ids, self._model),
            position_delta=layout.delta,
            sampling=msgspec.structs.replace(
                asked, max_tokens=most, min_tokens=min(asked.min_tokens, most)
            ),
            pooling=request.pooling,
            eos_token_ids=self._model.eos_token_ids,
            media_tokens=dict(layout.rows),
            media_options=options,
            timings=tuple(pending.timings),
        )

    def cost(self, pending: PendingRequest, options: EffectiveOptions) -> Previewed:
        """What a complete request would take, whether there is room or not. RequestError."""
        layout, media = self._lay_out(pending), pending.request.media
        check_empty(len(layout.token_ids))
        items = [
            ItemCost(item.modality, item.where, decoded.tokens, decoded.rows, decoded.look)
            for item, decoded in zip(media, (entry.decoded for entry in pending.held), strict=True)
        ]
        return Previewed(
            id=pending.request.id,
            attempt=pending.request.attempt,
            items=tuple(items),
            prompt_tokens=len(layout.token_ids),
            media_tokens=dict(layout.rows),
            media_options=options,
            timings=tuple(pending.timings),
        )

    def _lay_out(self, pending: PendingRequest) -> "_Layout":
        rendered, held = pending.rendered, [entry.decoded for entry in pending.held]
        if isinstance(pending.request.prompt, EmbedsPrompt):
            # In every model such rows are text, and counted on like it.
            (part,) = held[0].parts
            assert rendered.token_ids is not None
            item = Item(part.key, "prompt", part.rows, (Span(0, part.rows),))
            return _Layout(rendered.token_ids * part.rows, [item])
        if not held:
            assert rendered.token_ids is not None
            return _Layout(rendered.token_ids)
        inserts = {
            modality: [self._insert(index, held[index], nth) for nth, index in enumerate(indices)]
            for modality, indices in rendered.order.items()
        }
        if rendered.token_ids is None:
            laid = self._splicer.lay_text(rendered.text, rendered.marked, rendered.framed, inserts)
        else:
            laid = self._splicer.lay_ids(rendered.token_ids, inserts)
        self._renderer.check_ids(laid.token_ids, self._splicer.spoken_ids)
        items = [
            item
            for insert, runs in laid.placed
            for item in _items(
                held[insert.index].parts, insert.runs, runs, insert.index in pending.pages
            )
        ]
        items.sort(key=lambda item: item.spans[0].start)
        modalities = [item.modality for item in pending.request.media]
        rows = Counter[str]()
        for decoded, modality in zip(held, modalities, strict=True):
            for part in decoded.parts:
                rows[modality if len(decoded.parts) == 1 else part.kind] += part.rows
        positions, delta = compose(len(laid.token_ids), self._blocks(laid, held, modalities))
        return _Layout(laid.token_ids, items, positions, delta, rows)

    def _insert(self, index: int, decoded: Decoded, nth: int) -> Insert:
        runs = self._splicer.runs(
            decoded.text, decoded.counts, [part.embed_token_id for part in decoded.parts]
        )
        return Insert(index, decoded.text, runs, decoded.number.replace("{n}", str(nth)))

    def _blocks(self, laid: Laid, held: list[Decoded], modalities: list[Modality]) -> list[Block]:
        """Of the items that have positions of their own, in the order of the prompt."""
        seen: Counter[Modality] = Counter()
        blocks: list[Block] = []
        for insert, runs in laid.placed:
            decoded, modality = held[insert.index], modalities[insert.index]
            if decoded.planes is not None:
                flat = np.frombuffer(decoded.planes, "<i4")
                planes = flat.reshape(self._model.position_planes, -1)
                anchors = None
                if decoded.anchors is not None:
                    anchors = np.frombuffer(decoded.anchors, np.uint8).reshape(planes.shape)
                start = runs[0].start - self._splicer.lead(insert)
                block = Block(start, planes, decoded.advance, anchors, seen[modality])
                apart = start >= (blocks[-1].end if blocks else 0)
                if not apart or not runs[-1].end <= block.end <= len(laid.token_ids):
                    raise invalid(
                        f"A run of the {modality} items lacks the tokens that the model's "
                        f"processor puts around it."
                    )
                blocks.append(block)
            seen[modality] += 1
        return blocks


class _Layout(NamedTuple):
    token_ids: list[int]
    items: list[Item] = []  # noqa: RUF012
    """In prompt order."""
    positions: bytes | None = None
    delta: int = 0
    rows: Mapping[str, int] = {}
    """By modality of media."""


def unbroken(token_ids: Sequence[int], model: ModelFacts) -> tuple[tuple[int, int], ...]:
    """The stretches of a prompt that lie in spans of tokens that see each other both ways, as the
    runner finds these."""
    if model.span_scope in ("prompt", "text"):
        return ((0, len(token_ids)),)
    if not model.span_token_ids:
        return ()
    places = np.isin(token_ids, model.span_token_ids).nonzero()[0]
    if not len(places):
        return ()
    parts = [places]
    if model.span_scope == "item":
        parts = np.split(places, (np.diff(places) > 1).nonzero()[0] + 1)
    return tuple((int(part[0]), int(part[-1]) + 1) for part in parts)


def _items(
    parts: Sequence[Part], runs: Sequence[Run], places: Sequence[Span], later: bool
) -> list[Item]:
    """Each part with the runs that are its rows, in the order of its embedding."""
    spans: list[list[Span]] = [[] for _ in parts]
    done = [0] * len(parts)
    for run, place in zip(runs, places, strict=True):
        spans[run.part].append(Span(place.start, run.length, done[run.part]))
        done[run.part] += run.length
    return [
        Item(part.key, part.kind, part.rows, tuple(its), later)
        for part, its in zip(parts, spans, strict=True)
    ]


def check_empty(tokens: int) -> None:
    """Raises RequestError."""
    if tokens < 1:
        raise RequestError(EMPTY_PROMPT)


def check_room(request: Request, tokens: int, context: int, model: ModelFacts) -> None:
    """At least one token must be left for an answer of tokens; one of vectors takes none. Raises
    RequestError."""
    check_empty(tokens)
    rows = tokens if request.pooling is not None and request.pooling.task != "embed" else 1
    if (size := 4 * rows * model.hidden) > MAX_BYTES:
        raise invalid(
            f"A vector for each of {tokens} tokens takes {size} bytes together; a prompt gets at "
            f"most {MAX_BYTES}.",
            code="answer_too_large",
        )
    if tokens + (request.pooling is None) > context:
        raise beyond_context(f"The prompt has {tokens} tokens", context)
