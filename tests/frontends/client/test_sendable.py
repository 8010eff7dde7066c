"""A value that a message cannot hold, or that its reader would refuse, is refused before anything
is reserved for it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from thespis.frontends.client.delivery import check_sendable
from thespis.protocol.edges.client_to_preprocessor import ClientToPreprocessor, Prepare
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.pooling import PoolingParams
from thespis.protocol.requests.request import (
    ChatMessage,
    ChatPrompt,
    Encoded,
    MediaItem,
    Request,
    Slot,
    Text,
    TextPrompt,
    TokenPrompt,
    Url,
)
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.wire import Decoder, WireError, encode

READER = Decoder[ClientToPreprocessor](ClientToPreprocessor)
PICTURE = MediaItem(
    "image", Encoded(BlobRef("a", 0, "uint8", (9,))), "messages[0]", options={"max_pixels": 5}
)
"""As one that came with its bytes."""


def request(**changed: Any) -> Request:
    plain: dict[str, Any] = {
        "id": "r",
        "client": "c",
        "arrival": 0.0,
        "prompt": TextPrompt("Hi"),
        "media": (),
        "sampling": SamplingParams(),
    }
    return Request(**{**plain, **changed})


GOOD = {
    "text": {},
    "a whole arrival": {"arrival": 3},
    "text beyond ASCII": {"prompt": TextPrompt("\u6f22\U0001f600")},
    "a conversation": {
        "prompt": ChatPrompt(
            (ChatMessage("user", (Text("a"), Slot(0))),),
            tools=({"name": "f", "n": 1.5, "none": None},),
        ),
        "media": (PICTURE,),
    },
    "a fetched picture": {"media": (MediaItem("image", Url("http://a/b"), "x"),)},
    "tokens": {"prompt": TokenPrompt((1, 2, 3)), "deadline": 5.0},
    "a vector": {"pooling": PoolingParams()},
    "options": {
        "mm_processor_kwargs": {"a": [1, {"b": 2.0}]},
        "media_io_kwargs": {"video": {"fps": 2}},
    },
    "biases": {"sampling": SamplingParams(logit_bias={5: 1.0}, stop=("x",), seed=(1 << 63) - 1)},
    "the largest number": {"mm_processor_kwargs": {"a": (1 << 64) - 1}},
    "a list for a tuple": {"prompt": TokenPrompt([1, 2])},  # type: ignore[arg-type]
}
BAD = {
    "a text for a number": {"priority": "high"},
    "a float for a whole number": {"priority": 2.0},
    "a fraction for a whole number": {"priority": 2.5},
    "a number for a text": {"tenant": 5},
    "a number for a prompt's text": {"prompt": TextPrompt(5)},  # type: ignore[arg-type]
    "a text for the prompt": {"prompt": "Hi"},
    "nothing for the prompt": {"prompt": None},
    "a text among tokens": {"prompt": TokenPrompt((1, "2"))},  # type: ignore[arg-type]
    "a token below zero as text": {"prompt": TokenPrompt("12")},  # type: ignore[arg-type]
    "an unknown modality": {"media": (MediaItem("smell", Url("http://a/b"), "x"),)},  # type: ignore[arg-type]
    "a number as a key": {"mm_processor_kwargs": {5: 1}},
    "bytes for options": {"media_io_kwargs": {"video": b"x"}},
    "a switch for a number": {"deadline": True},
    "a lone surrogate": {"prompt": TextPrompt("\ud800")},
    "bytes for a text": {"prompt": TextPrompt(bytearray(b"x"))},  # type: ignore[arg-type]
    "bytes as a key": {"mm_processor_kwargs": {memoryview(b"x"): 1}},
    "a moment as a key": {"mm_processor_kwargs": {datetime.now(UTC): 1}},
    "every second byte": {"mm_processor_kwargs": {"a": memoryview(b"abcd")[::2]}},
    "a number beyond 64 bits": {"mm_processor_kwargs": {"a": 1 << 64}},
    "an object": {"mm_processor_kwargs": {"a": object()}},
}


@pytest.mark.parametrize("changed", GOOD.values(), ids=GOOD)
def test_what_the_preprocessor_reads_is_sent(changed: dict[str, Any]) -> None:
    READER.decode(encode(Prepare(request(**changed))))
    check_sendable(request(**changed))


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD)
def test_what_it_cannot_read_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises((WireError, TypeError, ValueError, OverflowError, BufferError)):
        READER.decode(encode(Prepare(request(**changed))))
    with pytest.raises(RequestError):
        check_sendable(request(**changed))


def test_a_loop_of_values_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(RequestError):
        check_sendable(request(mm_processor_kwargs=loop))


def test_the_field_is_named() -> None:
    with pytest.raises(RequestError) as refused:
        check_sendable(request(priority="high"))
    assert (refused.value.failure.part, refused.value.failure.text) == (
        "priority",
        "Expected int, got str.",
    )
