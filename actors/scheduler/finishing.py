"""When a choice ends by its tokens. Stop strings are the detokenizer's part."""

from ...protocol.edges.scheduler_to_detokenizer import FinishReason
from ...protocol.requests.prepared import Prepared


def ending(
    prepared: Prepared, max_tokens: int, output: list[int]
) -> tuple[FinishReason | None, int | None]:
    """(reason, the token that ended it) for an output whose last token is new."""
    sampling, token = prepared.sampling, output[-1]
    if len(output) >= sampling.min_tokens:
        if token in prepared.eos_token_ids and not sampling.ignore_eos:
            return "stop", token
        if token in sampling.stop_token_ids:
            return "stop", token
    return ("length", None) if len(output) >= max_tokens else (None, None)
