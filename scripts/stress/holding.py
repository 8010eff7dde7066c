"""What the processes of an engine hold of requests, by their own counters; all of it is nothing
when no request is there."""

from collections.abc import Mapping

HELD: dict[str, tuple[str, ...]] = {
    "fetcher": ("open_requests", "in_flight", "held_bytes"),
    "preprocessor": (
        "open_requests",
        "decodes_waiting",
        "decodes_running",
        "cache_pins",
        "features_leased",
    ),
    "encoder-cache": ("pinned", "features_waiting", "waiting_for_space", "encode_workers_busy"),
    "encode-worker-1": ("arena_bytes_used",),
    "scheduler": (
        "running",
        "waiting",
        "kept",
        "embeddings_asked_or_held",
        "kv_blocks_used",
        "state_slots_used",
        "suspects",
    ),
    "gpu-runner": ("sequences",),
    "detokenizer": ("open_requests",),
    "http": (
        "busy",
        "open_requests",
        "admitted_requests",
        "admitted_tokens",
        "admitted_media_bytes",
        "arena_bytes_used",
    ),
}
"""Counters by role. Caches are not among them: what is kept for reuse is no request's."""


def held(stats: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What is not free, by "role counter". A role that is just being replaced holds nothing."""
    return {
        f"{role} {name}": stats[role][name]
        for role, names in HELD.items()
        if role in stats
        for name in names
        if stats[role][name]
    }
