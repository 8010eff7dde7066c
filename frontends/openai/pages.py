"""Pages for people: files of the package and, of the playground, what its page has to know of this
server. Nothing in them comes from callers, so they are open; what they ask the API is not."""

import gzip
from collections.abc import Iterator
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import ETag, hdrs, web

from ...protocol.checkpoint.folder import demo_model
from ...protocol.config.roles import HttpConfig
from ...protocol.requests.request import MODALITIES
from ...protocol.requests.sampling import SamplingParams
from ...protocol.version import version

FOLDER = Path(__file__).parents[1] / "pages"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
    ".mp4": "video/mp4",
    ".wav": "audio/wav",
}
"""Media types by the ends of names; files that end otherwise are not served."""
TEXTS = frozenset({".html", ".js", ".css", ".svg", ".json"})
DOOR = "/playground/door"
"""Says whether a key is asked for, and nothing else."""
SECURITY = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            "media-src 'self' blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
}
"""A page runs its own files alone and calls this server alone; no text becomes HTML in it."""


class Page(NamedTuple):
    """A file as it is sent."""

    body: bytes
    packed: bytes | None
    """With gzip, where that is worth it."""
    etag: str
    media_type: str


@cache
def page_of(file: Path) -> Page:
    """Read once in a process: the files of a package stay as they are."""
    body = file.read_bytes()
    packed = gzip.compress(body, mtime=0) if file.suffix in TEXTS else None
    return Page(body, packed, blake2b(body, digest_size=12).hexdigest(), TYPES[file.suffix])


async def send_file(request: web.Request, file: Path) -> web.Response:
    """The file, or 304 to a browser that has it."""
    page = page_of(file)
    known = request.if_none_match or ()
    same = any(etag.value in (page.etag, "*") for etag in known)
    response = web.Response(status=304) if same else _whole(request, page)
    response.etag = ETag(page.etag, is_weak=True)  # of the file, packed or not
    response.headers.update(SECURITY)
    response.headers[hdrs.CACHE_CONTROL] = "no-cache"
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    return response


def _whole(request: web.Request, page: Page) -> web.Response:
    charset = "utf-8" if page.media_type.startswith("text/") else None
    codings = {
        coding.strip().lower()
        for coding in request.headers.get(hdrs.ACCEPT_ENCODING, "").split(",")
    }
    if page.packed is None or "gzip" not in codings:
        return web.Response(body=page.body, content_type=page.media_type, charset=charset)
    return web.Response(
        body=page.packed,
        content_type=page.media_type,
        charset=charset,
        headers={hdrs.CONTENT_ENCODING: "gzip"},
    )


def files_below(folder: Path, path: str) -> Iterator[tuple[str, Path]]:
    """The files that are served, by their paths below `path`."""
    for file in sorted(folder.rglob("*")):
        if file.suffix in TYPES:
            yield f"{path}/{file.relative_to(folder).as_posix()}", file


class Playground:
    """The page at `/`. Without it there is nothing at its paths."""

    def __init__(self, config: HttpConfig) -> None:
        self._files: dict[str, Path] = {}
        self._about: dict[str, Any] = {}
        if config.server.playground:
            folder = FOLDER / "playground"
            self._files = dict(files_below(folder, "/playground"))
            self._files["/"] = self._files.pop("/playground/index.html")
            if is_bundled(config):
                media = demo_model() / "media"
                self._files |= dict(files_below(media, "/playground/examples"))
            self._about = about(config)
        self._keyed = bool(config.server.api_key)

    @property
    def open_paths(self) -> frozenset[str]:
        """Answered without a key: a browser cannot send one before the page asks for it."""
        return frozenset({*self._files, DOOR}) if self._files else frozenset()

    def routes(self, root: str) -> Iterator[web.RouteDef]:
        """Below `root`."""
        for path, file in self._files.items():
            yield web.get(root + path, partial(send_file, file=file))
        if self._files:
            yield web.get(root + DOOR, self._door)
            yield web.get(f"{root}/playground/about", self._tell)

    async def _door(self, request: web.Request) -> web.Response:
        return _json({"keyed": self._keyed})

    async def _tell(self, request: web.Request) -> web.Response:
        return _json(self._about)


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def is_bundled(config: HttpConfig) -> bool:
    """Whether the model is the package's own."""
    return Path(config.client.model.path) == demo_model().resolve()


def about(config: HttpConfig) -> dict[str, Any]:
    """What the page tells of this server before anybody has asked the model."""
    model, usual = config.client.model, SamplingParams()
    return {
        "model": config.client.name,
        "version": version(),
        "max_model_len": config.client.max_model_len,
        "output": model.output,
        # A document is pictures of its pages to who sees, and the text of them to all others.
        "takes": [*(kind for kind in MODALITIES if kind in model.placeholders), "document"],
        "bundled": is_bundled(config),
        "live_view": config.server.live_view,
        "defaults": {
            "temperature": usual.temperature,
            "top_p": usual.top_p,
            "max_tokens": None,  # of a chat: as many as fit into the context
            "num_frames": _frames(config),
            "pixels": _pixels(config),
        },
    }


def _frames(config: HttpConfig) -> int | None:
    """Of a clip, where the operator has said how many."""
    told = config.engine.media_io_kwargs.get("video", {}).get("num_frames")
    return told if isinstance(told, int) else None


def _pixels(config: HttpConfig) -> list[int] | None:
    """The least and the most of a picture, where the model lets a caller choose."""
    model = config.client.model
    if "max_pixels" not in model.media_options.get("image", ()):
        return None
    found = model.pixel_ranges.get("image")
    return list(found) if found else None
