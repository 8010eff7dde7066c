"""What a simulated fleet did, in figures."""

from array import array
from collections.abc import Iterable

import msgspec

from .figures import at, ms, part
from .fleet import Fleet
from .loss import Loss, loss_of


class Report(msgspec.Struct, frozen=True):
    replicas: int
    requests: int
    tokens_per_second: float
    ttft_ms_p50: float
    ttft_ms_p99: float
    itl_ms_p50: float
    itl_ms_p99: float
    good: float
    """The part of the requests that was answered whole, and as soon as its caller expects."""
    refused: float
    """The part that no replica had room for."""
    resumed: int
    lost: int
    """Accepted, and not answered whole."""
    runners: float
    """The part of the time in which requests came for which a runner computed, on the average; and
    so on."""
    encoders: float
    decoders: float
    uneven: float
    """The busiest runner's time in that of the average one."""
    deepest: int
    """Requests that one replica had at once, at the most."""
    shared_items: float
    """The part of the items that a replica had already."""
    shared_tokens: float
    """The part of the prompts' tokens."""
    route_us: float
    """Of one decision, the middle one."""
    route_us_p99: float
    key_us: float
    """For the keys of a request, where its router looks at them."""
    routers: float
    """Processors that keys and decisions alone would keep busy at this rate."""
    loss: Loss | None


def report_of(fleet: Fleet, seconds: float) -> Report:
    asks, replicas = fleet.asks, fleet.replicas
    whole = [ask for ask in asks if ask.ended is not None and len(ask.got) >= ask.answer]
    firsts = [ask.first - ask.at for ask in asks if ask.first is not None]
    gaps = array("f")
    for ask in asks:
        gaps.extend(ask.gaps)
    tallies = [replica.policy.tally for replica in replicas]
    encoded = sum(replica.encoded for replica in replicas)
    shared = sum(replica.shared for replica in replicas)
    busy = [one.runner for one in fleet.busy]
    deciding = sum(fleet.routing_seconds) + sum(fleet.keying_seconds)
    slots = fleet.plan.replicas * seconds
    decoders, grain = fleet.decoders * slots, fleet.grain
    tokens = sum(1 + grain * (len(ask.got) - 1) for ask in asks if ask.got)
    return Report(
        replicas=fleet.plan.replicas,
        requests=len(asks),
        tokens_per_second=round(tokens / seconds, 1),
        ttft_ms_p50=ms(firsts, 0.5),
        ttft_ms_p99=ms(firsts, 0.99),
        itl_ms_p50=round(ms(gaps, 0.5) / grain, 2),
        itl_ms_p99=round(ms(gaps, 0.99) / grain, 2),
        good=part(sum(ask.pleased(fleet.plan.patience) for ask in whole), len(asks)),
        refused=part(fleet.refused, len(asks)),
        resumed=fleet.resumed,
        lost=len(asks) - fleet.refused - len(whole),
        runners=part(sum(busy), slots),
        encoders=part(sum(one.encoder for one in fleet.busy), slots),
        decoders=part(sum(one.decoders for one in fleet.busy), decoders),
        uneven=round(max(busy) * len(busy) / max(1e-9, sum(busy)), 2),
        deepest=fleet.peak,
        shared_items=part(shared, shared + encoded),
        shared_tokens=part(
            sum(tally.prefix_hit_tokens for tally in tallies),
            sum(tally.prefix_query_tokens for tally in tallies),
        ),
        route_us=round(at(fleet.routing_seconds, 0.5) * 1e6, 1),
        route_us_p99=round(at(fleet.routing_seconds, 0.99) * 1e6, 1),
        key_us=round(at(fleet.keying_seconds, 0.5) * 1e6, 1),
        routers=round(deciding / seconds, 3),
        loss=loss_of(fleet),
    )


def table(rows: Iterable[tuple[str, Report]]) -> str:
    """As Markdown."""
    heads = (
        "case", "requests", "tokens/s", "TTFT p50 / p99 ms", "ITL p50 / p99 ms", "good", "refused",
        "resumed / lost", "runner / encoder / decoders busy", "busiest runner",
        "items / tokens shared",
        "deepest", "keys / decision p50 / p99 µs", "cores for routing",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, r in rows:
        cells = (
            name, f"{r.requests}", f"{r.tokens_per_second:.0f}",
            f"{r.ttft_ms_p50:.0f} / {r.ttft_ms_p99:.0f}",
            f"{r.itl_ms_p50:.1f} / {r.itl_ms_p99:.1f}",
            f"{r.good:.2%}", f"{r.refused:.2%}", f"{r.resumed} / {r.lost}",
            f"{r.runners:.0%} / {r.encoders:.0%} / {r.decoders:.0%}", f"{r.uneven:.2f}",
            f"{r.shared_items:.1%} / {r.shared_tokens:.1%}", f"{r.deepest}",
            f"{r.key_us} / {r.route_us} / {r.route_us_p99}", f"{r.routers}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
