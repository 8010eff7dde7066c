"""The last step: rendered prompt and decoded items become the prepared request. Pure."""

import msgspec

from ...protocol.errors import refuse
from ...protocol.prepared import Item, Prepared, Timing
from ...protocol.request import Modality, Request
from ...protocol.sampling import SamplingParams
from .families.base import Family, Placed, Sized, expand
from .prompt import Rendered
from .store import Entry


def assemble(
    request: Request,
    rendered: Rendered,
    entries: list[Entry],
    family: Family,
    context: int,
    timings: tuple[Timing, ...],
    asked: SamplingParams,
) -> Prepared:
    """`entries` are by index of `request.media`; `asked`: its sampling with words and guide resolved. Raises
    RequestError, for a prompt that is too long among others."""
    order = {modality: rendered.order.get(modality, []) for modality in family.placeholders}
    sized = {modality: [_sized(entries[index]) for index in indices] for modality, indices in order.items()}
    token_ids, spans = expand(rendered.token_ids, family.placeholders, sized)
    check_length(len(token_ids), context)
    items: list[Item] = []
    placed: list[Placed] = []
    for modality, indices in order.items():
        for index, span, size in zip(indices, spans[modality], sized[modality], strict=True):
            items.append(Item(entries[index].key, modality, size.rows, (span,)))
            placed.append(Placed(modality, span.start, size.rows, size.grid, size.seconds_per_grid))
    items.sort(key=lambda item: item.spans[0].start)
    placed.sort(key=lambda item: item.start)
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
        media_tokens=_count(sized),
        timings=timings,
    )


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


def _sized(entry: Entry) -> Sized:
    decoded = entry.decoded
    return Sized(decoded.rows, decoded.grid, decoded.seconds_per_grid)


def _count(sized: dict[Modality, list[Sized]]) -> dict[str, int]:
    return {modality: sum(size.rows for size in sizes) for modality, sizes in sized.items() if sizes}
