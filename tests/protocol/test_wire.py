import json
from typing import Any, get_origin

import pytest

from thespis.protocol.edges.control import Hello, ToDirector
from thespis.protocol.wire import Decoder, WireError, encode

from .golden import FILE, declared, members, messages, sample, unions

GOLDEN: dict[str, str] = json.loads(FILE.read_text())
MESSAGES = messages()


def test_every_message_has_golden_bytes() -> None:
    assert set(GOLDEN) == set(MESSAGES)


def test_every_message_belongs_to_a_union() -> None:
    known = (kind for union in unions().values() for kind in members(union))
    assert declared() <= {get_origin(kind) or kind for kind in known}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_bytes_of_a_message_do_not_change(name: str) -> None:
    kind = MESSAGES[name]
    value = sample(kind)
    assert encode(value).hex() == GOLDEN.get(name)
    decoder: Decoder[Any] = Decoder(kind)
    assert decoder.decode(bytes.fromhex(GOLDEN[name])) == value


@pytest.mark.parametrize("name", sorted(unions()))
def test_a_union_tells_its_messages_apart(name: str) -> None:
    union = unions()[name]
    decoder: Decoder[Any] = Decoder(union)
    for kind in members(union):
        assert type(decoder.decode(encode(sample(kind)))) is (get_origin(kind) or kind)


HELLO = encode(Hello("scheduler", 1, 2, 3))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HELLO[:-1],
        HELLO + b"\x00",
        b"\x80",
        encode(sample(MESSAGES["client_to_fetcher.Fetch"])),
        b"\xc1" * 9,
    ],
    ids=["empty", "cut", "longer", "no tag", "of another edge", "noise"],
)
def test_what_is_no_message_of_the_edge_is_refused(data: bytes) -> None:
    decoder: Decoder[Any] = Decoder(ToDirector)
    with pytest.raises(WireError):
        decoder.decode(data)


def test_an_unknown_field_is_refused() -> None:
    import msgspec

    data = msgspec.msgpack.encode(
        msgspec.to_builtins(Hello("scheduler", 1, 2, 3)) | {"type": "Hello", "more": 1}
    )
    decoder: Decoder[Any] = Decoder(ToDirector)
    with pytest.raises(WireError, match="more"):
        decoder.decode(data)


def test_what_nests_deeper_than_a_stack_is_no_message() -> None:
    decoder: Decoder[Any] = Decoder(dict[str, Any])
    with pytest.raises(WireError):
        decoder.decode(b"\x81\xa1a" * 100_000 + b"\xc0")
