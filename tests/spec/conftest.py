"""The engines of all statements: one with its HTTP face, which the Python faces join; one whose
operator has said much; one started as a user of vLLM would; and one with little room, of each
family in turn.

A tiny random Qwen2.5-Omni (pictures, clips and sounds). A test that needs options which none of
them has starts an engine of its own: look first whether one of them can have the option without a
harm to the others' tests.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from thespis import LLM, AsyncLLM

from ..helpers.checkpoints import FAMILIES, Checkpoints
from ..helpers.serving import Server, served
from .faces import ALICE, BOB, FACES, AsyncFace, Face, FaceName, HttpFace, OfflineFace
from .rules import RULES
from .troupe import Troupe, on_tour

OPTIONS: dict[str, Any] = {
    "served_model_name": "tiny",
    "dtype": "float32",
    "max_model_len": 1024,
    "max_num_seqs": 16,
    "enable_mm_embeds": True,
    "enable_prompt_embeds": True,
    "limit_mm_per_prompt": {
        "image": 6,
        "video": {"count": 2, "num_frames": 32, "width": 512, "height": 512},
    },
}
"""Of the shared engine. Nothing that a statement wants off by default is on here, but for
ready-made embeddings."""


@pytest.fixture(scope="session")
def server(checkpoints: Checkpoints) -> Iterator[Server]:
    """Two API keys; `server.ask` sends Alice's unless it is told another."""
    with served(checkpoints("qwen_omni"), api_key=(ALICE, BOB), **OPTIONS) as server:
        yield server


@pytest.fixture(scope="session")
def llm(server: Server) -> Iterator[LLM]:
    with LLM(run_dir=server.run_dir) as llm:
        yield llm


@pytest.fixture(scope="session")
def ruled(checkpoints: Checkpoints) -> Iterator[Server]:
    """An engine whose operator has said how much is enough, and what is trusted. Embeddings are
    off, as shipped."""
    with served(checkpoints("qwen_omni"), tool_call_parser="json", **RULES) as server:
        yield server


@pytest.fixture(scope="session")
def ruled_llm(ruled: Server) -> Iterator[LLM]:
    with LLM(run_dir=ruled.run_dir) as llm:
        yield llm


@pytest.fixture(scope="session")
def async_face(server: Server) -> Iterator[AsyncFace]:
    face = AsyncFace(AsyncLLM(run_dir=server.run_dir))
    yield face
    face.close()


@pytest.fixture(scope="session")
def spare(checkpoints: Checkpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    """An engine started as a user of vLLM would: every option of S11, no caches, sha512, four
    pictures a prompt, 1 MiB of media."""
    options: dict[str, Any] = {
        "limit_mm_per_prompt": {"image": 4},
        "max_model_len": 512,
        "gpu_memory_utilization": 0.5,
        "enforce_eager": True,
        "trust_remote_code": True,
        "media_io_kwargs": {"video": {"num_frames": 8}},
        "mm_processor_kwargs": {"max_pixels": 84 * 112},
        "enable_mm_embeds": False,
        "allowed_local_media_path": tmp_path_factory.mktemp("media"),
        "allowed_media_domains": ["example.org"],
        "mm_processor_cache_gb": 0,
        "enable_prefix_caching": False,
        "mm_hasher_algorithm": "sha512",
        "max_media_gb": 1 / 1024,
        "dtype": "auto",
        "device": "auto",
        "seed": 0,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 256,
        "chat_template": None,
    }
    with LLM(model=checkpoints("qwen_omni"), **options) as llm:
        yield llm


@pytest.fixture(scope="session", params=FAMILIES)
def troupe(
    request: pytest.FixtureRequest,
    checkpoints: Checkpoints,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Troupe]:
    """Every family in turn, on an engine with little room."""
    folder = tmp_path_factory.mktemp("merging") / request.param
    with on_tour(request.param, checkpoints(request.param), folder) as troupe:
        yield troupe


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> Face:
    """Each of the three in turn."""
    return _face(request, request.param)


@pytest.fixture
def any_face(request: pytest.FixtureRequest) -> Face:
    """One of the three, the next for the next row of a table: for what lies behind all faces."""
    row = sum(request.node.callspec.indices.values())
    return _face(request, FACES[row % len(FACES)])


def _face(request: pytest.FixtureRequest, name: FaceName) -> Face:
    match name:
        case "llm":
            return OfflineFace(request.getfixturevalue("llm"))
        case "async":
            found: AsyncFace = request.getfixturevalue("async_face")
            return found
        case _:
            return HttpFace(request.getfixturevalue("server"))
