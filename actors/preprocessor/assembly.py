"""The last step: rendered prompt and decoded items become the prepared request. Pure."""

import msgspec

from ...protocol.errors import refuse
from ...protocol.prepared import EffectiveOptions, Item, Prepared, Span
from ...protocol.request import MODALITIES, EmbedsPrompt, Modality
from .families.base import Family, Piece, PlacedItem, Sized, expand
from .store import FeatureEntry
from .ticket import Ticket


def assemble(ticket: Ticket, family: Family, context: int, options: EffectiveOptions) -> Prepared:
    """Of a complete ticket; `options`: of its media, in effect. RequestError, for one thing where the prompt is too long."""
    request, asked = ticket.request, ticket.sampling
    token_ids, items, placed = _lay_out(ticket, family)
    check_length(len(token_ids), context)
    positions, delta = family.positions(len(token_ids), token_ids, placed)
    room = context - len(token_ids)
    most = room if asked.max_tokens is None else min(asked.max_tokens, room)
    return Prepared(
        id=request.id,
        attempt=request.attempt,
        client=request.client,
        tenant=request.tenant,
        arrival=request.arrival,
        deadline=request.deadline,
        priority=request.priority,
        token_ids=tuple(token_ids),
        items=tuple(items),
        positions=positions,
        position_delta=delta,
        sampling=msgspec.structs.replace(asked, max_tokens=most, min_tokens=min(asked.min_tokens, most)),
        eos_token_ids=family.checkpoint.info.eos_token_ids,
        media_tokens=_count(items),
        media_options=options,
        timings=tuple(ticket.timings),
    )


def _lay_out(ticket: Ticket, family: Family) -> tuple[list[int], list[Item], list[PlacedItem]]:
    """The prompt with a run of placeholders for each item, and where the items lie in it, in prompt order."""
    entries = ticket.held
    if isinstance(ticket.request.prompt, EmbedsPrompt):  # in every family such rows are text, and counted on like it
        rows = entries[0].decoded.rows
        return ticket.rendered.token_ids * rows, [Item(entries[0].key, "prompt", rows, (Span(0, rows),))], []
    heard = {clip: entries[sound] for clip, sound in ticket.tracks.items() if entries[sound].decoded.rows}
    order = {modality: ticket.rendered.order.get(modality, []) for modality in family.placeholders}
    sized = {
        modality: [_sized(entries[index], heard.get(index), family) for index in indices] for modality, indices in order.items()
    }
    token_ids, spans = expand(ticket.rendered.token_ids, family.placeholders, sized)
    items: list[Item] = []
    placed: list[PlacedItem] = []
    for modality, indices in order.items():
        for index, span, size in zip(indices, spans[modality], sized[modality], strict=True):
            sound = heard.get(index)
            rows = sound.decoded.rows if sound is not None else 0
            items.append(Item(entries[index].key, modality, size.rows, _spans(span, size.pieces, modality)))
            if sound is not None:
                items.append(Item(sound.key, "audio", rows, _spans(span, size.pieces, "audio")))
            placed.append(PlacedItem(modality, span.start, size.rows, size.grid, size.seconds_per_grid, rows))
    items.sort(key=lambda item: item.spans[0].start)
    placed.sort(key=lambda item: item.start)
    return token_ids, items, placed


def check_length(tokens: int, context: int) -> None:
    """At least one token must be left for the answer."""
    if tokens < 1:
        raise refuse("invalid_request", "The prompt is empty.")
    if tokens >= context:
        raise refuse(
            "invalid_request",
            f"The prompt has {tokens} tokens, the model's context is {context}.",
            code="context_length_exceeded",
        )


def _sized(entry: FeatureEntry, sound: FeatureEntry | None, family: Family) -> Sized:
    decoded = entry.decoded
    size = Sized(decoded.rows, decoded.grid, decoded.seconds_per_grid)
    return size if sound is None else size._replace(pieces=family.interleaved(size, sound.decoded.rows))


def _spans(run: Span, pieces: tuple[Piece, ...], modality: Modality) -> tuple[Span, ...]:
    """Where the rows of one modality lie in a clip's run; a run without pieces is all its own."""
    if not pieces:
        return (run,)
    spans: list[Span] = []
    at = run.start
    for piece in pieces:
        if piece.modality == modality:
            spans.append(Span(at, piece.length, piece.offset))
        at += piece.length
    return tuple(spans)


def _count(items: list[Item]) -> dict[str, int]:
    """Placeholder tokens per modality of media."""
    counts: dict[str, int] = {}
    for item in items:
        if item.modality in MODALITIES:
            counts[item.modality] = counts.get(item.modality, 0) + item.rows
    return counts
