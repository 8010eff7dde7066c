"""Two requests are the same work or they are not, whoever asks: by what is asked, and not by what
chance gave them."""

from typing import Any

import msgspec
import pytest

from thespis.actors.quarantine.fingerprints import fingerprint, fingerprint_of_prepared, outline
from thespis.protocol.requests.guide import Guide
from thespis.protocol.requests.prepared import Prepared
from thespis.protocol.requests.request import Request, TextPrompt
from thespis.protocol.requests.sampling import SamplingParams

GUIDE = Guide("regex", "a+")
SAMPLING = SamplingParams(seed=1, structured_outputs=GUIDE)
SAME: dict[str, dict[str, Any]] = {
    "another seed": {"seed": 2},
    "a guide that took longer to measure": {
        "structured_outputs": Guide("regex", "a+", 0.01, 0.002)
    },
}
OTHER: dict[str, dict[str, Any]] = {
    "another temperature": {"temperature": 0.5},
    "another guide": {"structured_outputs": Guide("regex", "b+")},
    "no guide": {"structured_outputs": None},
}


def asked(sampling: SamplingParams) -> Request:
    return Request(
        id="a", client="client-a", arrival=0.0, prompt=TextPrompt("x"), sampling=sampling
    )


def made(sampling: SamplingParams) -> Prepared:
    return Prepared(
        id="a",
        attempt=0,
        client="client-a",
        tenant="",
        arrival=0.0,
        priority=0,
        token_ids=(1, 2),
        items=(),
        positions=None,
        sampling=sampling,
        eos_token_ids=(),
    )


def prints(sampling: SamplingParams) -> tuple[str, str, str]:
    return (
        outline(asked(sampling)),
        fingerprint(asked(sampling), lambda ref: b""),
        fingerprint_of_prepared(made(sampling)),
    )


@pytest.mark.parametrize("change", SAME)
def test_chance_makes_no_other_work(change: str) -> None:
    assert prints(SAMPLING.replace(**SAME[change])) == prints(SAMPLING)


@pytest.mark.parametrize("change", OTHER)
def test_what_is_asked_makes_other_work(change: str) -> None:
    other = prints(SAMPLING.replace(**OTHER[change]))
    assert not any(one == another for one, another in zip(other, prints(SAMPLING), strict=True))


def test_what_concerns_one_request_alone_makes_no_other_work() -> None:
    """Its name, its client, its attempt, and when it came."""
    again: dict[str, Any] = {"id": "b", "client": "client-b", "attempt": 3, "arrival": 9.0}
    assert outline(msgspec.structs.replace(asked(SAMPLING), **again)) == outline(asked(SAMPLING))
    assert fingerprint_of_prepared(
        msgspec.structs.replace(made(SAMPLING), **again)
    ) == fingerprint_of_prepared(made(SAMPLING))
