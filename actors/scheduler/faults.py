"""What the client of a sequence is told that the runner could not compute."""

from ...protocol.edges.gpu_runner_to_scheduler import SequenceFault
from ...protocol.errors import Failure

FAULT = Failure(
    "internal", "The model could not compute this request; the others were not affected."
)
DEAD_END = Failure(
    "invalid_request",
    "What the request asks of its answer leaves no token to go on with: its grammar, bad_words, "
    "allowed_token_ids and "
    "logit_bias exclude each other, or the grammar has become too large.",
    code="dead_end",
)


def failure_of(fault: SequenceFault | None) -> Failure:
    """`fault`: None where the runner said nothing and gave no token."""
    return DEAD_END if fault is not None and fault.constrained else FAULT
