"""Forms read in pieces: the same wherever they are cut, as the standard library reads them, and
refused where they are none."""

import random
from email import message_from_bytes, policy
from itertools import pairwise

import pytest
from aiohttp import FormData

from thespis.frontends.openai.bodies.multipart import Form, FormPart, boundary_of
from thespis.protocol.errors import RequestError

BYTES = b"\r\n--x\r\n--b--\r\n\x00\xff--"
GOOD = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n'
    b'--b\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n'
    b"--b \t\r\ncontent-disposition: form-data; filename=x.png; name=file\r\n"
    b"Content-Type: image/png\r\n\r\n" + BYTES.replace(b"--b", b"--c") + b"\r\n--b--\r\nepilogue"
)


def parts(data: bytes, *cuts: int, boundary: str = "b") -> list[tuple[FormPart, bytes]]:
    form, found = Form(boundary), list[tuple[FormPart, bytes]]()
    edges = [0, *cuts, len(data)]
    for start, end in pairwise(edges):
        for event in form.feed(data[start:end]):
            if isinstance(event, FormPart):
                found.append((event, b""))
            else:
                assert event
                found[-1] = (found[-1][0], found[-1][1] + event)
    form.end()
    return found


def test_a_form_is_the_same_wherever_it_is_cut() -> None:
    whole = parts(GOOD)
    assert whole == [
        (FormPart("purpose", None), b"vision"),
        (FormPart("empty", None), b""),
        (FormPart("file", "x.png"), BYTES.replace(b"--b", b"--c")),
    ]
    for at in range(len(GOOD)):
        assert parts(GOOD, at) == whole
    assert parts(GOOD, *range(1, len(GOOD))) == whole


async def test_what_others_write_is_read_as_the_standard_library_reads_it() -> None:
    draw = random.Random(5)
    for _ in range(50):
        form = FormData(quote_fields=draw.random() < 0.5)
        for number in range(draw.randrange(1, 5)):
            form.add_field(f"n{number}", draw.randbytes(draw.randrange(300)), filename="ä \"q'.png")
        body = form()
        written = bytearray()

        class Sink:
            async def write(self, data: bytes, into: bytearray = written) -> None:
                into += data

        await body.write(Sink())  # type: ignore[arg-type]
        kind = body.headers["Content-Type"]
        ours = parts(bytes(written), boundary=boundary_of(kind))
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = message_from_bytes(head + bytes(written), policy=policy.HTTP)
        theirs = [part.get_payload(decode=True) for part in message.walk()][1:]
        assert [data for _, data in ours] == theirs


HEAD = b'--b\r\nContent-Disposition: form-data; name="a"'
WRONG = {
    "nothing": b"",
    "no boundary": b"hello",
    "another boundary": b'--c\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--c--',
    "a preamble": b"preamble\r\n" + GOOD,
    "no end": GOOD[: GOOD.index(b"--b--")],
    "half an end": b"--b-",
    "one dash": b"--b-x",
    "no name": b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
    "two names": HEAD + b'; name="b"\r\n\r\nx\r\n--b--',
    "no disposition": b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--",
    "an attachment": b'--b\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--b--',
    "base64": HEAD + b"\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--",
    "gzip": HEAD + b"\r\nContent-Encoding: gzip\r\n\r\nx\r\n--b--",
    "twice the same header": HEAD + b"\r\n" + HEAD[5:] + b"\r\n\r\nx\r\n--b--",
    "a folded header": HEAD + b";\r\n filename=x\r\n\r\nx\r\n--b--",
    "a line without a colon": HEAD + b"\r\nhello\r\n\r\nx\r\n--b--",
    "no utf-8": b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--',
    "a long head": b"--b\r\n" + b"X: " + b"x" * 100_000 + b"\r\n\r\nx\r\n--b--",
    "a head without an end": b"--b\r\n" + b"x" * 100_000,
    "much white space": b"--b" + b" " * 10_000 + b"\r\n",
    "many parts": (HEAD + b"\r\n\r\nx\r\n") * 100 + b"--b--",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_form_is_refused(name: str) -> None:
    for step in (1, 1 << 16):
        with pytest.raises(RequestError) as error:
            parts(WRONG[name], *range(step, len(WRONG[name]), step))
        assert error.value.failure.code == "invalid_form"


@pytest.mark.parametrize(
    "kind",
    ["", "; boundary=", "; boundary=a;boundary=b", f"; boundary={'x' * 71}", '; boundary="a\r\nb"',
     '; boundary="ä"', '; boundary="a "'],
)  # fmt: skip
def test_a_boundary_is_as_the_standard_has_it(kind: str) -> None:
    with pytest.raises(RequestError):
        boundary_of(f"multipart/form-data{kind}")


def test_boundaries_of_clients_are_read() -> None:
    assert boundary_of("multipart/form-data; boundary=abc") == "abc"
    assert boundary_of('Multipart/Form-Data; charset=utf-8; Boundary="a b?"') == "a b?"


def test_random_bytes_end_in_parts_or_a_refusal() -> None:
    draw = random.Random(7)
    pieces = [b"--b", b"\r\n", b"--", b":", b'name="a"', b"Content-Disposition: form-data;", b"x"]
    for _ in range(3000):
        data = b"".join(draw.choices(pieces, k=draw.randrange(20)))
        outcomes = set()
        for cuts in ((), tuple(range(1, len(data)))):
            try:
                outcomes.add(str(parts(data, *cuts)))
            except RequestError:
                outcomes.add("refused")
        assert len(outcomes) == 1
