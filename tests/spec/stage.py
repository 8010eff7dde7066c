"""An engine whose fetcher lives on an internet of a table, its three faces, and the web site that
it meets there."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from thespis import LLM, AsyncLLM
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig

from ..helpers.bodies import SECRETS
from ..helpers.engines import cast_of
from ..helpers.serving import Server
from .faces import Answer, AsyncFace, Face, HttpFace, OfflineFace, Refused, ask
from .web import Site, part


class Stage(NamedTuple):
    server: Server
    faces: tuple[OfflineFace, AsyncFace, HttpFace]
    site: Site
    model: Path

    def everywhere(
        self, *parts: dict[str, Any], each: Callable[[str], str] | None = None
    ) -> dict[str, Answer | Refused]:
        """The same parts through all faces at once: by face, what came. `each`: the one picture's
        URL, of the face's name."""

        def one(face: Face) -> Answer | Refused:
            given = (part(each(face.name)),) if each is not None else parts
            try:
                return ask(face, [*given, {"type": "text", "text": "What?"}])
            except Refused as refused:
                return refused

        with ThreadPoolExecutor(len(self.faces)) as pool:
            return dict(
                zip((face.name for face in self.faces), pool.map(one, self.faces), strict=True)
            )

    def answered(
        self, *parts: dict[str, Any], each: Callable[[str], str] | None = None
    ) -> dict[str, Answer]:
        """By face; every face must answer."""
        found: dict[str, Answer] = {}
        for name, outcome in self.everywhere(*parts, each=each).items():
            assert isinstance(outcome, Answer), f"{name}: {outcome}"
            found[name] = outcome
        return found

    def refused(
        self,
        *parts: dict[str, Any],
        status: int = 400,
        where: str = "messages[0].content[0]",
        **more: Any,
    ) -> str:
        """The text of the refusal: the same on every face, its item named, and nothing in it that
        is nobody's business."""
        texts: set[str] = set()
        for name, outcome in self.everywhere(*parts, **more).items():
            assert isinstance(outcome, Refused), f"{name}: {outcome}"
            assert (outcome.status, outcome.part) == (status, where), f"{name}: {outcome}"
            texts.add(outcome.text.removeprefix(f"{where}: "))
        assert len(texts) == 1, texts
        (text,) = texts
        assert not SECRETS.search(text), text
        return text

    def counters(self, role: str = "fetcher") -> Mapping[str, float]:
        return self.faces[0].llm.status().stats[role]


@contextmanager
def on_stage(model: Path, environ: Mapping[str, str], **options: Any) -> Iterator[Stage]:
    """`environ`: THESPIS_* variables of this engine; `options`: fields of EngineConfig."""
    with ExitStack() as stack:
        site = stack.enter_context(Site())
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        with mock.patch.dict(os.environ, environ):
            engine = start_engine(
                EngineConfig(
                    model=str(model), dtype="float32", max_model_len=1024, max_num_seqs=8, **options
                ),
                ServerConfig(host="127.0.0.1", port=port, listen_fd=listener.fileno()),
                cast=cast_of({"fetcher": "fetcher_with_table"}, facts=None),
            )
        stack.callback(engine.terminate)
        server = Server(f"http://127.0.0.1:{port}", engine)
        llm = stack.enter_context(LLM(run_dir=engine.run_dir))
        running = AsyncFace(AsyncLLM(run_dir=engine.run_dir))
        stack.callback(running.close)
        yield Stage(server, (OfflineFace(llm), running, HttpFace(server)), site, model)
