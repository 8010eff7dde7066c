"""PDFs that ask for more than there is: run as a program, it draws each in a process with little
time and memory, and prints how that ended."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import cache

from thespis.actors.decode_worker import documents
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.document import DocumentOptions
from thespis.tests.helpers import pdf_attacks, pdfs

CASES: dict[str, Callable[[], bytes]] = {
    "64 MiB of content in 70 KB": lambda: pdfs.flate_bomb(1, size=1 << 26),
    "64 MiB of content in 1 KB": lambda: pdfs.flate_bomb(2, size=1 << 26),
    "a picture of 3.6 gigabytes": pdfs.image_bomb,
    "JBIG2 of half a gigabyte": pdfs.jbig2_bomb,
    "forms that draw each other": pdfs.nested_forms,
    "a form that draws itself": pdfs.endless_form,
    "arrays within arrays": pdfs.deep_tree,
    "pages within pages": pdfs.deep_pages,
    "a tree of pages that is none": pdfs.circular_pages,
    "a thousand million pages": lambda: pdfs.counted(10**9),
    "a page as large as a country": lambda: pdfs.of_texts(["x"], (1e9, 1e9)),
    "a page of no size": lambda: pdfs.one_page(pdfs.stream(b""), box=b"0 0 nan inf"),
    **pdf_attacks.ATTACKS,
}
HARMLESS = {
    "arrays within arrays",
    "a thousand million pages",
    "a page as large as a country",
    "a page of no size",
    *pdf_attacks.DRAWN,
}
"""Which a page can be drawn of: PDFium takes what says too much for what is usual."""


@cache
def made(name: str) -> bytes:
    return CASES[name]()


SECONDS, BYTES = 0.4, 256 << 20
"""Of CPU time, and of memory beside what a process has: a worker has more of both."""


def end_of(data: bytes) -> str:
    pid = os.fork()
    if not pid:
        code = 3
        try:
            with open("/proc/self/statm") as file:
                held = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + BYTES, held + BYTES))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # the kernel's limit has whole seconds
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            _read(data)
            code = 0
        except (RequestError, MemoryError):
            code = 1
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "ended"
    return {0: "drawn", 1: "refused"}.get(os.WEXITSTATUS(status), "raised")


def _read(data: bytes) -> None:
    with documents.opened(data) as document:
        documents.count_pages(document)
        points = documents.page_size(document, 1)
    size = documents.picture_size(points, 1, DocumentOptions(), MediaLimits())
    documents.draw(data, 1, size, (255, 255, 255))
    documents.texts_of(data, (1,))


if __name__ == "__main__":
    import pypdfium2  # noqa: F401 -- before the forks

    for name in CASES:
        print(f"{name}: {end_of(made(name))}")
        sys.stdout.flush()
