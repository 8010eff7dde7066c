"""The HTTP server that dies of bodies: of INLINE where it reads one, of TAKEN where it takes up
what a reader read."""

import os
from typing import Any

from thespis.actors.kernel.launch import Launch
from thespis.frontends.openai import app_state
from thespis.frontends.openai import main as http
from thespis.frontends.openai.bodies import handover, readers, reading

INLINE, TAKEN = b"ends whoever parses it", b"ends whoever takes it up"


def main(launch: Launch) -> None:
    read, unpack = reading.read, handover.unpack_piece

    def deadly_read(kind: Any, raw: Any, terms: Any) -> Any:
        if INLINE in bytes(raw) or TAKEN in bytes(raw):
            os.abort()
        return read(kind, raw, terms)

    def deadly_unpack(kind: Any, data: bytes) -> Any:
        if TAKEN in data:
            os.abort()
        return unpack(kind, data)

    vars(app_state)["read"], vars(readers)["unpack_piece"] = deadly_read, deadly_unpack
    http.main(launch)
