"""The form of a sound: the file goes into shared memory while it comes, the fields are few."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ....actors.jobs.identity import HASHERS
from ....protocol.errors import RequestError, invalid, refuse
from ....protocol.memory.blobs import BlobRef, block_bytes
from ....protocol.memory.shortage import shortage
from ...client.media_store import MediaStore
from ...inputs.media import MAX_ITEM_BYTES
from ..bodies.multipart import Form, FormPart

MAX_FIELD = 16 << 10
"""Bytes of a field."""


class FormSound(NamedTuple):
    """The file, whose bytes are in shared memory, if somebody adopts them."""

    blob: BlobRef
    digest: str


class SoundForm:
    """One form. Fields may come in any order; `fields` has them by name."""

    def __init__(self, media: MediaStore, hasher: str) -> None:
        self._media, self._hasher = media, hasher
        self.fields: dict[str, list[str]] = {}
        self.draft: str | None = None
        """Where the file is, until it is adopted; discard it when the call is over."""
        self._digest: Any = HASHERS[hasher]()
        self._size = 0

    async def read(self, form: Form, pieces: AsyncIterator[bytes]) -> FormSound:
        """Raises RequestError."""
        self.draft, file = self._media.draft()
        open_field: tuple[str, bytearray] | None = None
        begun = False
        try:
            async for piece in pieces:
                for event in form.feed(piece):
                    if isinstance(event, FormPart):
                        self._keep(open_field)
                        open_field = _field_of(event, begun)
                        begun = begun or open_field is None
                    elif open_field is None:
                        self._write(file, event)
                    else:
                        open_field[1].extend(event)
                        if len(open_field[1]) > MAX_FIELD:
                            text = f"A field has at most {MAX_FIELD} bytes."
                            raise invalid(text, _shown(open_field[0]), "invalid_form")
            form.end()
            self._keep(open_field)
            if not begun:
                raise invalid("This field is required.", "file", "missing_field")
            if not self._size:
                raise invalid("The file is empty.", "file", "empty_file")
            with _room():
                os.posix_fallocate(file, 0, block_bytes(self._size))
        finally:
            os.close(file)
        blob = BlobRef(self.draft, 0, "uint8", (self._size,))
        return FormSound(blob, f"{self._hasher}:{self._digest.hexdigest()}")

    def _keep(self, field: tuple[str, bytearray] | None) -> None:
        if field is None:
            return
        name, content = field
        try:
            self.fields.setdefault(name, []).append(content.decode())
        except UnicodeDecodeError:
            raise invalid("It is not UTF-8.", _shown(name), "invalid_form") from None

    def _write(self, file: int, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_ITEM_BYTES:
            text = f"The file is larger than {MAX_ITEM_BYTES >> 20} MiB."
            raise refuse("too_large", text, "file", "media_too_large")
        self._digest.update(data)
        view = memoryview(data)
        with _room():
            while view:
                view = view[os.write(file, view) :]


def _field_of(part: FormPart, begun: bool) -> tuple[str, bytearray] | None:
    """None: it is the file's."""
    if part.name == "file":
        if begun:
            raise invalid("One file at a time.", "file", "too_many_files")
        return None
    if part.filename is not None:
        raise invalid("The file's field is named `file`.", code="invalid_form")
    return part.name, bytearray()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if (short := shortage(error)) is None:
            raise
        raise RequestError(short) from None


def _shown(name: str) -> str:
    return name if len(name) <= 64 and name.isascii() and name.isprintable() else "a field"
