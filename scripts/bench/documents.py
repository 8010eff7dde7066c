"""A document of many pages against its pages sent otherwise: `scripts/dev bench documents [MODEL]`

Each way has an engine of its own, with text streams beside it: one request with the PDF; one with
all its pages as pictures, which have been drawn before; the pictures in a request each, one after
the other; with `--ways document,known` the PDF once more, by an engine that comes after the first
one and has the folder of what that has encoded. Told are the time to the first token (of the last
request, where there are many), what the memory of all processes and their shared memory rose by at
most, and the streams' longest gap.
"""

import asyncio
import base64
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pypdfium2
from PIL import Image

from thespis import AsyncLLM, SamplingParams
from thespis.protocol.memory.blobs import segment_prefix

from . import parser_of
from .model import model_or_random

PERIOD = 0.05
"""Seconds between two looks at memory."""
CONTEXT = 1 << 17
MIB = 1 << 20
ENDLESS = SamplingParams(temperature=1.0, seed=1, max_tokens=1 << 16, ignore_eos=True)
ONE = SamplingParams(temperature=0.0, max_tokens=1)
QUESTION = {"type": "text", "text": "What is on the last page?"}


def main() -> None:
    parser = parser_of("documents", __doc__, model=True)
    parser.add_argument("--pages", type=int, default=250)
    parser.add_argument(
        "--pixels", type=int, default=78_400, help="of a page (default: %(default)s)"
    )
    parser.add_argument("--streams", type=int, default=2, help="of text, beside them")
    parser.add_argument("--ways", default="document,pictures,one by one")
    given = parser.parse_args()
    with model_or_random(given.model) as model:
        if not given.model:
            _enlarge(Path(model), given.pixels)
        ways, pdf = given.ways.split(","), document(given.pages)
        with TemporaryDirectory() as folder:
            kept = folder if "known" in ways else None
            told = {
                way: asyncio.run(measure(model, way, pdf, given.pixels, given.streams, kept))
                for way in ways
            }
    json.dump(told, sys.stdout, indent=2)
    print()


def _enlarge(folder: Path, pixels: int) -> None:
    """The random model sees small pictures and remembers little."""
    for name, key, value in (
        ("config.json", "max_position_embeddings", CONTEXT),
        ("preprocessor_config.json", "longest_edge", pixels),
        ("processor_config.json", "longest_edge", pixels),
    ):
        if (file := folder / name).exists():
            file.write_text(json.dumps(_replaced(json.loads(file.read_text()), key, value)))


def _replaced(node: Any, key: str, value: int) -> Any:
    if isinstance(node, dict):
        return {
            name: value if name == key else _replaced(inner, key, value)
            for name, inner in node.items()
        }
    return [_replaced(inner, key, value) for inner in node] if isinstance(node, list) else node


def document(pages: int) -> bytes:
    """Pages of A4 with lines of text on them, no two alike."""
    pdf = pypdfium2.PdfDocument.new()
    for number in range(pages):
        sheet = Image.effect_noise((595, 842), 64 + number % 64).convert("RGB")
        file = io.BytesIO()
        sheet.resize((298, 421)).resize((595, 842)).save(file, "JPEG", quality=40)
        file.seek(0)
        page, image = pdf.new_page(595, 842), pypdfium2.PdfImage.new(pdf)
        image.load_jpeg(file, inline=True)
        image.set_matrix(pypdfium2.PdfMatrix().scale(595, 842))
        page.insert_obj(image)
        page.gen_content()
        page.close()
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


def drawn(pdf: bytes, pixels: int) -> list[dict[str, Any]]:
    """The pages as pictures of so many pixels."""
    parts: list[dict[str, Any]] = []
    with pypdfium2.PdfDocument(pdf) as opened:
        for page in opened:
            scale = (pixels / (page.get_width() * page.get_height())) ** 0.5
            file = io.BytesIO()
            page.render(scale=scale).to_pil().convert("RGB").save(file, "PNG")
            url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
            parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


async def measure(
    model: str, way: str, pdf: bytes, pixels: int, streams: int, kept: str | None
) -> dict[str, float | str]:
    """`kept`: where embeddings are kept from one way to the next."""
    parts: list[dict[str, Any]] = [{"type": "document", "document": pdf, "pixels": pixels}]
    if way not in ("document", "known"):
        parts = drawn(pdf, pixels)
    requests = [[part] for part in parts] if way == "one by one" else [parts]
    # every page of a request is read once: what is computed of them is not what is asked here
    async with AsyncLLM(
        model,
        device="cpu",
        dtype="float32",
        max_model_len=CONTEXT // 2,
        kv_cache_gb=2,
        encoder_cache_dir=kept,
    ) as llm:
        await llm.generate("warm", ONE)
        async with beside(llm, streams) as gaps, watched(llm) as peak:
            base, began = peak(), time.monotonic()
            first = 0.0
            for content in requests:
                messages = [{"role": "user", "content": [*content, QUESTION]}]
                answer = await llm.chat(messages, ONE)
                first = first or time.monotonic() - began
            seconds = time.monotonic() - began
            return {
                "prompt_tokens": len(answer.prompt_token_ids),
                "first_page_s": round(first, 2),
                "seconds": round(seconds, 2),
                "base_mib": round(base / MIB),
                "rise_mib": round((peak() - base) / MIB),
                "longest_gap_ms": round(1000 * gaps(began)),
            }


@asynccontextmanager
async def beside(llm: AsyncLLM, streams: int) -> AsyncIterator[Callable[[float], float]]:
    """Text streams; the longest gap of one since a moment, in seconds."""
    times: list[list[float]] = [[] for _ in range(streams)]

    async def speak(own: list[float]) -> None:
        async for _ in llm.stream("Tell me a story.", ENDLESS):
            own.append(time.monotonic())

    tasks = [asyncio.create_task(speak(own)) for own in times]
    while not all(len(own) > 32 for own in times):
        await asyncio.sleep(PERIOD)

    def longest(since: float) -> float:
        now = time.monotonic()
        found = (
            later - earlier
            for own in times
            for earlier, later in zip(own, [*own[1:], now], strict=True)
            if later > since
        )
        return max(found, default=0.0)

    try:
        yield longest
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def watched(llm: AsyncLLM) -> AsyncIterator[Callable[[], int]]:
    """The most memory so far, in bytes, of all processes of the engine."""
    pids = list((await llm.status()).pids.values())
    files = segment_prefix(llm.run_dir)
    most = memory(pids, files)

    async def look() -> None:
        nonlocal most
        while True:
            await asyncio.sleep(PERIOD)
            most = max(most, await asyncio.to_thread(memory, pids, files))

    task = asyncio.create_task(look())
    try:
        yield lambda: most
    finally:
        task.cancel()


def memory(pids: list[int], files: str) -> int:
    """Their own pages, and the files in shared memory, whose names begin so."""
    own = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it was replaced
            continue
        kinds = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        own += 1024 * (kinds["Pss"] - kinds.get("Pss_Shmem", 0))
    shared = 0
    for file in Path("/dev/shm").glob(f"{files}*"):
        try:
            shared += file.stat().st_blocks * 512
        except OSError:
            continue
    return own + shared


if __name__ == "__main__":
    main()
