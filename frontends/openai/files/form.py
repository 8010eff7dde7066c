"""The form of an upload, written to disk while it comes."""

from collections.abc import AsyncIterator

from ....protocol.errors import RequestError, invalid, refuse
from ..bodies.multipart import Form, FormPart
from ..stored.files import FileNote, check_purpose, plain_name, seconds_until_over
from ..stored.storage import Storage
from ..stored.store import Draft, Entry

MAX_FILE = 512 << 20
"""Bytes of one file, as at OpenAI."""
MAX_FIELD = 4 << 10
"""Bytes of a field."""
AT_ONCE = 1 << 18
"""Bytes that are gathered before a thread writes them."""
FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]", "warm", "pin")
SWITCHES = {"true": True, "1": True, "false": False, "0": False}


class Upload:
    """One form, whose file goes into `draft`. Fields may come in any order."""

    def __init__(self, storage: Storage, draft: Draft) -> None:
        self._storage, self._draft = storage, draft
        self._filename: str | None = None
        self._fields: dict[str, bytearray] = {}
        self._open: bytearray | None = None
        """The field whose content comes; None: it is the file's."""
        self._waiting = bytearray()

    async def read(self, form: Form, pieces: AsyncIterator[bytes]) -> None:
        """Raises RequestError."""
        async for piece in pieces:
            for event in form.feed(piece):
                if isinstance(event, FormPart):
                    self._begin(event)
                elif self._open is not None:
                    self._open += event
                    if len(self._open) > MAX_FIELD:
                        raise invalid(
                            f"A field has at most {MAX_FIELD} bytes.", code="invalid_form"
                        )
                else:
                    self._waiting += event
            if len(self._waiting) >= AT_ONCE:
                await self._write()
        form.end()
        if self._filename is None:
            raise invalid("This field is required.", "file", "missing_field")
        await self._write()
        if not self._draft.size:
            raise invalid("The file is empty.", "file", "empty_file")

    async def keep(self) -> Entry:
        """Raises RequestError for fields that are wrong."""
        purpose = check_purpose(self._told("purpose"))
        seconds = seconds_until_over(
            self._told("expires_after[anchor]"), self._told("expires_after[seconds]"), purpose
        )
        assert self._filename is not None
        note = FileNote(plain_name(self._filename), purpose)
        return await self._storage.run(self._draft.keep, note, seconds)

    @property
    def warm(self) -> bool:
        """Whether it is to be decoded and encoded ahead. Raises RequestError."""
        return self._switch("warm")

    @property
    def pin(self) -> bool:
        """Whether what is made of it is to stay on disk. Raises RequestError."""
        return self._switch("pin")

    @property
    def ignored(self) -> list[str]:
        """Fields that say nothing here."""
        return [name for name in self._fields if name not in FIELDS]

    def _begin(self, part: FormPart) -> None:
        if part.name == "file":
            if self._filename is not None:
                raise invalid("One file at a time.", "file", "too_many_files")
            self._filename, self._open = part.filename or "", None
            return
        if part.filename is not None:
            raise invalid("The file's field is named `file`.", code="invalid_form")
        if part.name in self._fields:
            raise invalid("This field comes twice.", _shown(part.name), "invalid_form")
        self._open = self._fields[part.name] = bytearray()

    def _told(self, name: str) -> str | None:
        if (value := self._fields.get(name)) is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise invalid("It is not UTF-8.", name, "invalid_form") from None

    def _switch(self, name: str) -> bool:
        if (told := self._told(name)) is None:
            return False
        if told.lower() not in SWITCHES:
            raise invalid("Expected true or false.", name, "wrong_type")
        return SWITCHES[told.lower()]

    async def _write(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        if self._draft.size + len(data) > MAX_FILE:
            raise too_large()
        await self._storage.run(self._draft.write, data)


def too_large() -> RequestError:
    text = f"A file has at most {MAX_FILE >> 20} MiB."
    return refuse("too_large", text, "file", "file_too_large")


def _shown(name: str) -> str:
    return name if len(name) <= 64 and name.isascii() and name.isprintable() else "a field"
