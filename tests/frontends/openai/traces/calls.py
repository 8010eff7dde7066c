"""A call that has ended, for tests."""

from typing import Any

import msgspec

from thespis.frontends.openai.traces.call import EndedCall
from thespis.protocol.requests.prepared import ItemSource, Timing

PICTURE = "messages[0].content[1]"
CALL = EndedCall(
    id="mine",
    tenant="alice",
    path="/v1/chat/completions",
    model="tiny",
    began=100.0,
    ended=102.0,
    unix=1_000_000.0,
    timings=(
        Timing("decode", 100.1, 100.3, "image", PICTURE),
        Timing("encode", 100.4, 100.6, "image", "key"),
        Timing("queue", 100.3, 100.35),
        Timing("prefill", 100.35, 100.9),
        Timing("decode", 100.9, 101.9),
    ),
    sources=(ItemSource(PICTURE, "image", ("key",), 1234, False),),
    prompt_tokens=20,
    completion_tokens=8,
)


def call(**changes: Any) -> EndedCall:
    return msgspec.structs.replace(CALL, **changes)
