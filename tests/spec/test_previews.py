"""What media would cost is told before they are sent, exactly, and nothing is decoded for it."""

import base64
import struct
import zlib
from random import Random
from typing import Any

import pytest

from thespis import LLM, AsyncLLM, SamplingParams
from thespis.protocol.errors import RequestError
from thespis.scripts.previews import Line, compare, drawn, forms, main

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import clip, data_url, picture, png, sound, wav
from ..helpers.random_media import File, random_sound
from ..helpers.serving import Server
from .faces import ALICE, BOB
from .web import Site
from .web import part as address

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
ONE_TOKEN = SamplingParams(temperature=0.0, max_tokens=1)


def part(file: File) -> dict[str, Any]:
    name = f"{file.kind.partition('/')[0]}_url"
    return {"type": name, name: {"url": data_url(file.kind, file.data)}}


def conversation(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is that?"}]}]


def check_equal(llm: LLM, modalities: tuple[str, ...], rounds: int, seed: int) -> None:
    """As often of every form that there is. `scripts/dev previews` asks every family for more."""
    line, count = Line("tiny"), rounds * len(forms(modalities))
    compare(llm, drawn(Random(seed), modalities, count), line)
    assert line.good, line.told()
    assert line.equal == count


def test_items_of_every_form_of_the_bundled_model() -> None:
    with LLM(max_num_seqs=16) as llm:
        check_equal(llm, ("image", "video", "audio"), 1, 1)


def test_items_of_every_form_of_a_family_of_all_modalities(llm: LLM) -> None:
    check_equal(llm, ("image", "video", "audio"), 1, 2)


def test_pictures_of_every_form_of_a_family_of_pictures(checkpoints: Checkpoints) -> None:
    with LLM(checkpoints("llava"), dtype="float32") as llm:
        check_equal(llm, ("image",), 2, 2)


def test_the_program_tells_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    good, other = Line("good", equal=3), Line("other", equal=2, wrong=["told 4, was 5"])
    assert (good.good, other.good, Line("dear", equal=3, decoded=1).good) == (True, False, False)
    assert other.told().endswith("told 4, was 5")
    with pytest.raises(SystemExit):
        main(["--types", "nobody"])
    assert "invalid choice: 'nobody'" in capsys.readouterr().err


@pytest.fixture
def mixed() -> list[dict[str, Any]]:
    voice = base64.b64encode(wav(sound(5, 0.7))).decode()
    return conversation(
        {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(5, 90, 60)))}},
        {"type": "video_url", "video_url": {"url": data_url("video/mp4", clip(5, 6))}},
        {"type": "input_audio", "input_audio": {"data": voice, "format": "wav"}},
    )


def test_over_http_it_is_the_usage_of_the_answer(
    server: Server, mixed: list[dict[str, Any]]
) -> None:
    body = {"messages": mixed, "max_tokens": 1}
    told = server.ask("/v1/media/preview", body)
    assert told.status == 200, told.body
    cost, usage = told.body, server.ask("/v1/chat/completions", body).body["usage"]
    assert (cost["object"], cost["model"]) == ("media.preview", "tiny")
    assert cost["prompt_tokens"] == usage["prompt_tokens"]
    assert (cost["max_model_len"], cost["fits"]) == (1024, True)
    assert cost["max_tokens_left"] == 1024 - cost["prompt_tokens"]
    image, video, audio = cost["items"]
    assert [item["kind"] for item in cost["items"]] == ["image", "video", "audio"]
    assert [item["part"] for item in cost["items"]] == [0, 1, 2]
    for item in cost["items"]:
        assert item["rows"] == usage["prompt_tokens_details"][f"{item['kind']}_tokens"]
    assert (image["width"], image["height"]) == (90, 60)
    assert image["scale_x"] == image["width"] / image["resized_width"]
    assert image["scale_y"] == image["height"] / image["resized_height"]
    assert (video["times"], video["seconds"]) == ([0.0, 0.5, 1.0, 1.5, 2.0, 2.5], 3.0)
    assert (audio["seconds"], audio["width"]) == (0.7, None)


def test_what_does_not_fit_is_told_and_not_refused(server: Server) -> None:
    text = "many words " * 900
    told = server.ask(
        "/v1/media/preview", {"messages": conversation({"type": "text", "text": text})}
    )
    assert (told.status, told.body["fits"], told.body["max_tokens_left"]) == (200, False, 0)
    assert told.body["prompt_tokens"] > 1024
    refused = server.ask(
        "/v1/chat/completions", {"messages": conversation({"type": "text", "text": text})}
    )
    assert refused.status == 400


def test_options_count_and_what_is_known_is_not_looked_at_again(server: Server, llm: LLM) -> None:
    file = File("video/mp4", clip(77, 8))
    few = {"messages": conversation(part(file)), "media_io_kwargs": {"video": {"num_frames": 2}}}
    told = server.ask("/v1/media/preview", few, key=BOB).body
    usage = server.ask("/v1/chat/completions", {**few, "max_tokens": 1}, key=BOB).body["usage"]
    assert told["prompt_tokens"] == usage["prompt_tokens"]
    assert len(told["items"][0]["times"]) == 2
    named = {**part(file), "uuid": "the clip"}
    whole = {"messages": conversation(named)}
    server.ask("/v1/chat/completions", {**whole, "max_tokens": 1}, key=BOB)
    before = llm.status().stats["preprocessor"]
    bare = {"messages": conversation({"type": "video_url", "video_url": None, "uuid": "the clip"})}
    by_id = server.ask("/v1/media/preview", bare, key=BOB).body
    assert by_id["items"] == server.ask("/v1/media/preview", whole, key=BOB).body["items"]
    after = llm.status().stats["preprocessor"]
    assert (after["looked"], after["decoded"]) == (before["looked"], before["decoded"])
    assert server.ask("/v1/media/preview", bare, key=ALICE).body["error"]["code"] == "cache_miss"


def test_an_item_whose_headers_do_not_tell_it_is_named(server: Server) -> None:
    file = random_sound(Random(4), "adpcm_ms", "wav", 16_000)
    body = {"messages": conversation(part(file))}
    error = server.ask("/v1/media/preview", body).body["error"]
    assert (error["code"], error["param"]) == ("cost_unknown", "messages[0].content[0]")
    assert server.ask("/v1/chat/completions", {**body, "max_tokens": 1}).status == 200


def test_a_hostile_header_is_refused_as_the_answer_refuses_it(server: Server) -> None:
    bomb = bytearray(png(picture(1)))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    cut = clip(1, 6)
    for file in (File("image/png", bytes(bomb)), File("video/mp4", cut[: len(cut) // 2])):
        body = {"messages": conversation(part(file)), "max_tokens": 1}
        told, answered = (
            server.ask(path, body) for path in ("/v1/media/preview", "/v1/chat/completions")
        )
        assert told.status == answered.status != 200
        assert told.body == answered.body


def test_an_address_is_fetched_under_the_same_policy(ruled: Server, server: Server) -> None:
    with Site() as site:
        body = {"messages": conversation(address(site.url("/picture-1.png", "127.0.0.1")))}
        told = ruled.ask("/v1/media/preview", body)
        assert told.status == 200, told.body
        usage = ruled.ask("/v1/chat/completions", {**body, "max_tokens": 1}).body["usage"]
        assert told.body["prompt_tokens"] == usage["prompt_tokens"]
        refused = server.ask("/v1/media/preview", body)
        assert refused.body == server.ask("/v1/chat/completions", body).body
        assert refused.status == 400


async def test_async_llm_has_it_too(server: Server) -> None:
    asked = conversation(part(File("image/png", png(picture(9)))))
    async with AsyncLLM(run_dir=server.run_dir) as llm:
        told = await llm.preview(asked)
        answer = await llm.chat(asked, ONE_TOKEN)
        assert told.prompt_tokens == len(answer.prompt_token_ids)
        with pytest.raises(RequestError):
            await llm.preview(conversation({"type": "image_url", "image_url": {"url": "x:y"}}))
