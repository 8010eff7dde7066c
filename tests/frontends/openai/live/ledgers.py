"""Entries of a ledger as a client has them."""

from thespis.frontends.client.admission import Cost
from thespis.frontends.client.ledger import LedgerEntry, Progress
from thespis.frontends.client.stream import Stream
from thespis.protocol.requests.prepared import Prepared, Timing
from thespis.protocol.requests.request import Request, TextPrompt
from thespis.protocol.requests.sampling import SamplingParams

SECRET = "a word that nobody else may read"


def entry(
    id: str = "r",
    *,
    arrival: float = 100.0,
    tokens: int = 0,
    attempt: int = 0,
    timings: tuple[Timing, ...] | None = None,
    tenant: str = "",
) -> LedgerEntry:
    """`timings`: of its way in; None: it is not prepared."""

    async def cancel(id: str) -> None: ...

    request = Request(
        id=id, attempt=attempt, client="client-a", tenant=tenant, arrival=arrival,
        prompt=TextPrompt(SECRET), sampling=SamplingParams(),
    )  # fmt: skip
    made = LedgerEntry(
        request, Stream(id, cancel), Cost(1, 1, 0), (), [Progress(token_ids=list(range(tokens)))]
    )
    made.stream.prompt_text = SECRET
    if timings is not None:
        made.stream.prepared = Prepared(
            id=id, attempt=attempt, client="client-a", tenant=tenant, arrival=arrival, priority=0,
            token_ids=(1, 2, 3), items=(), positions=None, sampling=SamplingParams(),
            eos_token_ids=(), timings=timings,
        )  # fmt: skip
    return made
