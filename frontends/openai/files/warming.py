"""Decodes and encodes an uploaded file ahead, so that the first request with it finds it."""

from ....protocol.errors import invalid
from ....protocol.requests.pooling import PoolingParams
from ....protocol.requests.request import ChatMessage, ChatPrompt, Encoded, MediaItem, Slot, Text
from ....protocol.requests.sampling import SamplingParams
from ...inputs.submission import Submission, submit
from ..app_state import AppState
from ..requests.batches import LAST
from ..stored.store import Entry

WHERE = "file"
SAMPLING = SamplingParams(max_tokens=1, temperature=0.0, seed=0)


async def warm(state: AppState, tenant: str, entry: Entry, era: str | None = None) -> str:
    """As what it is kept on disk; empty: nothing is. `era`: one of its own finds nothing in the
    caches' memory. Raises RequestError where it cannot be, or there is no room for it now."""
    drafts: list[str] = []
    with state.working():
        try:
            upload = await state.uploads.take(tenant, entry.id, WHERE, drafts)
            if upload.seems is None:
                raise invalid("It is no picture, clip or sound.", WHERE, "not_warmed")
            item = MediaItem(upload.seems, Encoded(upload.blob), WHERE, digest=upload.digest)
            prompt = ChatPrompt((ChatMessage("user", (Slot(0), Text("."))),))
            wanted = SAMPLING if state.client.model.output == "token" else PoolingParams()
            stream = await submit(
                state.client, Submission(prompt, (item,)), wanted, wait=False, tenant=tenant,
                priority=LAST, streamed=False, era=era,
            )  # fmt: skip
            async with stream:
                async for _ in stream:
                    pass
            return next((source.name for source in stream.sources), "")
        finally:
            for draft in drafts:
                state.client.media.discard(draft)
