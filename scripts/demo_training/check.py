"""Asks a running engine through its OpenAI-compatible HTTP face, with fresh samples, and counts the
exact answers."""

import base64
import contextlib
import io
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from .clips import mp4_bytes
from .evaluation import SEEDS, even, fresh_samples, table
from .samples import Sample
from .sounds import wav_bytes
from .words import KINDS

CONCURRENCY = 16
NEEDED = 0.95  # of every kind and seed
START_SECONDS = 180.0
ANSWER_SECONDS = 120.0


def check(base_url: str | None, samples: int, shown: int = 5) -> bool:
    """Prints the table and the first wrong answers of each kind; whether every count is high
    enough."""
    with contextlib.ExitStack() as stack:
        url = base_url or stack.enter_context(running_engine())
        marks = ask_everything(url.rstrip("/"), samples, shown)
    print(table(marks))
    good = all(right >= NEEDED * asked for columns in marks.values() for right, asked in columns)
    print("every kind is good enough" if good else f"below {NEEDED:.0%} somewhere")
    return good


def ask_everything(url: str, samples: int, shown: int) -> dict[str, list[tuple[int, int]]]:
    model = _get_json(f"{url}/models")["data"][0]["id"]
    marks: dict[str, list[tuple[int, int]]] = {}
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for kind in KINDS:
            wrong: list[str] = []
            marks[kind] = []
            for seed in SEEDS:
                asked = fresh_samples(kind, seed, samples)
                answers = list(pool.map(lambda sample: ask(url, model, sample), asked))
                right = [
                    answer == sample.answer for answer, sample in zip(answers, asked, strict=True)
                ]
                marks[kind].append((sum(right), samples))
                wrong += [
                    f"  {sample.question!r}: wanted {sample.answer!r}, got {answer!r}"
                    for answer, sample, good in zip(answers, asked, right, strict=True)
                    if not good
                ]
            print(f"{kind}: {marks[kind]}", *wrong[:shown], sep="\n", flush=True)
    return marks


def ask(url: str, model: str, sample: Sample) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content_parts(sample)}],
        "temperature": 0,
        "max_tokens": 40,
    }
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as reply:
            answer: str = json.load(reply)["choices"][0]["message"]["content"]
            return answer
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read().decode(errors='replace')[:300]}"


def content_parts(sample: Sample) -> list[dict[str, Any]]:
    """The media first, as data URLs, then the question."""
    parts: list[dict[str, Any]] = []
    for pixels in sample.pictures:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        parts.append(
            {"type": "image_url", "image_url": {"url": _data_url("image/png", buffer.getvalue())}}
        )
    if sample.clip is not None:
        url = _data_url("video/mp4", mp4_bytes(even(sample.clip)))
        parts.append({"type": "video_url", "video_url": {"url": url}})
    if sample.sound is not None:
        data = base64.b64encode(wav_bytes(sample.sound)).decode()
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    return [*parts, {"type": "text", "text": sample.question}]


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as reply:
        return json.load(reply)


@contextlib.contextmanager
def running_engine() -> Iterator[str]:
    """`thespis serve` with the bundled model on a free loopback port, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # -P keeps the folder that we stand in from shadowing the engine's imports.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "thespis", "serve", "--port", str(port)]
    )
    try:
        _wait_for_health(process, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_health(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the engine ended at start with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.25)
    raise TimeoutError(f"the engine was not healthy within {START_SECONDS:.0f} s")
