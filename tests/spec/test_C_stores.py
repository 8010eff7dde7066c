"""Nothing is made twice: counted, in a whole engine, by the processes that do the work."""

import asyncio
import threading
from typing import Any

import pytest
from aiohttp import web

from thespis import LLM, AsyncLLM, SamplingParams

from ..helpers.media import RATE, clip, clip_frames, data_url, picture, png, sound

pytestmark = pytest.mark.process

BLOCK = 16
ONE_TOKEN = SamplingParams(temperature=0.0, max_tokens=1)
SHOWN = "<|vision_bos|><|IMAGE|><|vision_eos|>"
PLACEHOLDERS = {
    "image": SHOWN,
    "video": "<|vision_bos|><|VIDEO|><|vision_eos|>",
    "audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
}


@pytest.fixture
def llm(ruled_llm: LLM) -> LLM:
    """Of the engine that fetches from this machine."""
    return ruled_llm


def counted(llm: LLM) -> dict[str, float]:
    """What has been done since the start."""
    stats = llm.status().stats
    return {
        "downloads": stats["fetcher"]["downloads"],
        "decoded": sum(
            counters["decoded"]
            for role, counters in stats.items()
            if role.startswith("decode-worker")
        ),
        "encoded": stats["encoder-cache"]["encoded_items"],
        "computed": stats["scheduler"]["prompt_tokens_computed"],
    }


def grown(llm: LLM, before: dict[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in counted(llm).items()}


def content(kind: str) -> Any:
    """As `multi_modal_data` takes it; a new object each time, so that only the bytes can be
    recognised."""
    if kind == "image":
        return picture(31)
    return clip_frames(clip(32)) if kind == "video" else (sound(33), RATE)


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
def test_the_same_bytes_are_decoded_and_encoded_once(llm: LLM, kind: str) -> None:
    before = counted(llm)
    for question in ("What is it?", "Is it large, would you say?"):
        asked = {
            "prompt": f"{question} {PLACEHOLDERS[kind]}",
            "multi_modal_data": {kind: [content(kind)]},
        }
        llm.generate(asked, ONE_TOKEN, use_tqdm=False)
    after = grown(llm, before)
    assert (after["decoded"], after["encoded"]) == (1, 1)


def test_requests_at_the_same_time_share_one_decoding_and_one_encoding(llm: LLM) -> None:
    before = counted(llm)
    prompts = [
        {"prompt": f"{n} {SHOWN}", "multi_modal_data": {"image": [picture(41)]}} for n in range(6)
    ]
    llm.generate(prompts, ONE_TOKEN, use_tqdm=False)
    after = grown(llm, before)
    assert (after["decoded"], after["encoded"]) == (1, 1)


def test_other_bytes_are_not_taken_for_the_same(llm: LLM) -> None:
    before = counted(llm)
    prompts = [
        {"prompt": f"Look: {SHOWN}", "multi_modal_data": {"image": [picture(seed)]}}
        for seed in (51, 52)
    ]
    llm.generate(prompts, ONE_TOKEN, use_tqdm=False)
    after = grown(llm, before)
    assert (after["decoded"], after["encoded"]) == (2, 2)


def test_an_identical_prompt_computes_only_its_last_token(llm: LLM) -> None:
    prompt = {"prompt": f"{SHOWN} And now a question that is longer than a block is: what?"}
    asked = {**prompt, "multi_modal_data": {"image": [picture(61)]}}
    (first,) = llm.generate(asked, ONE_TOKEN, use_tqdm=False)
    before = counted(llm)
    (second,) = llm.generate(asked, ONE_TOKEN, use_tqdm=False)
    length = len(first.prompt_token_ids)
    assert grown(llm, before)["computed"] == 1
    assert second.metrics.cached_tokens == length - 1
    assert second.outputs[0].token_ids == first.outputs[0].token_ids


def test_the_same_text_around_another_picture_is_not_a_hit(llm: LLM) -> None:
    asked = [
        {
            "prompt": f"{SHOWN} And what is to be seen in this one, please?",
            "multi_modal_data": {"image": [picture(seed)]},
        }
        for seed in (71, 72)
    ]
    llm.generate(asked[0], ONE_TOKEN, use_tqdm=False)
    (other,) = llm.generate(asked[1], ONE_TOKEN, use_tqdm=False)
    assert other.metrics.cached_tokens <= 1, "the mark before it"


async def test_a_url_asked_by_two_at_once_is_fetched_once(llm: LLM) -> None:
    """The site answers only when both requests are known to wait for it."""
    asked, arrived = 0, asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await arrived.wait()
        return web.Response(body=png(picture(81)), content_type="image/png")

    site = web.Application()
    site.router.add_get("/picture.png", answer)
    before = await asyncio.to_thread(counted, llm)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with AsyncLLM(run_dir=llm.run_dir) as face:
            url = {
                "type": "image_url",
                "image_url": {"url": f"http://127.0.0.1:{port}/picture.png"},
            }
            messages = [
                [{"role": "user", "content": [url, {"type": "text", "text": text}]}]
                for text in ("one", "two")
            ]
            both = [asyncio.create_task(face.generate(message, ONE_TOKEN)) for message in messages]
            async with asyncio.timeout(20):
                while (await face.status()).stats["fetcher"]["open_requests"] < 2:
                    await asyncio.sleep(0.05)
            arrived.set()
            await asyncio.gather(*both)
    finally:
        await runner.cleanup()
    after = await asyncio.to_thread(grown, llm, before)
    assert (asked, after["downloads"], after["decoded"], after["encoded"]) == (1, 1, 1, 1)


def test_callers_in_two_threads_share_the_stores(llm: LLM) -> None:
    url = data_url("image/png", png(picture(91)))
    message = {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": "?"},
        ],
    }
    before = counted(llm)
    threads = [
        threading.Thread(target=llm.chat, args=([message], ONE_TOKEN, False)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = grown(llm, before)
    assert (after["decoded"], after["encoded"]) == (1, 1)
