"""`bench serve` against the app with a fake client, and its arithmetic."""

import argparse
import io
import json
import socket
from typing import Any

import av
import pytest
from aiohttp import web

from thespis.frontends.cli.api import Api, ApiError, read_event
from thespis.frontends.cli.bench import asking, media, serve
from thespis.frontends.cli.bench.report import milliseconds
from thespis.frontends.cli.main import build_parser

from ...openai.fake import FakeClient, served


def arguments(url: str, *more: str) -> argparse.Namespace:
    return build_parser("bench").parse_args(["bench", "serve", "--base-url", f"{url}/v1", *more])


async def test_it_reports_a_row_for_each_number_of_streams(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = FakeClient()
    client.words, client.pace = ["x "] * 20, 0.002
    async with served(client) as url:
        levels = await serve.measure(
            arguments(url, "--streams", "1,4", "--requests", "8", "--max-tokens", "20")
        )
    assert [(level.streams, level.requests, level.tokens) for level in levels] == [
        (1, 8, 160),
        (4, 8, 160),
    ]
    assert levels[1].tokens_per_second > levels[0].tokens_per_second
    for level in levels:
        assert 2.0 <= level.itl_ms_p50 <= level.itl_ms_p99
        assert level.ttft_ms_p50 > 2.0
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_prompts_are_token_ids_of_the_asked_length_and_never_the_same() -> None:
    client = FakeClient()
    async with served(client) as url:
        await serve.measure(
            arguments(
                url,
                "--streams",
                "1",
                "--requests",
                "4",
                "--prompt-tokens",
                "9",
                "--max-tokens",
                "2",
            )
        )
    prompts = [submitted[0] for submitted in client.submitted]
    assert {len(prompt.token_ids) for prompt in prompts} == {9}  # type: ignore[union-attr]
    assert len({prompt.token_ids for prompt in prompts}) == len(prompts)  # type: ignore[union-attr]


async def test_the_json_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    async with served(FakeClient()) as url:
        given = arguments(url, "--streams", "2", "--requests", "2", "--json")
        levels = await serve.measure(given)
    assert capsys.readouterr().out == ""
    (report,) = json.loads(
        json.dumps(
            [{name: getattr(level, name) for name in level.__struct_fields__} for level in levels]
        )
    )
    assert set(report) >= {
        "streams",
        "tokens_per_second",
        "ttft_ms_p50",
        "itl_ms_p50",
        "itl_ms_p99",
    }


async def test_plain_mode_sends_only_openais_fields() -> None:
    assert set(asking.request_body("m", 8, plain=True)) == {
        "model",
        "max_tokens",
        "temperature",
        "stream_options",
    }


async def test_a_server_that_refuses_ends_the_measurement_with_its_words() -> None:
    async with served(FakeClient()) as url, Api(url) as api:
        with pytest.raises(ApiError, match="The served model is"):
            await asking.one(api, asking.COMPLETIONS, {"model": "another", "prompt": "x"})


async def test_a_refusal_in_the_middle_of_a_row_is_raised_by_itself() -> None:
    client = FakeClient()
    client.fail_after = 2
    async with served(client) as url:
        with pytest.raises(ApiError, match="A part was restarted"):
            await serve.measure(arguments(url, "--streams", "4", "--requests", "8"))


MEDIA = ("--streams", "2", "--requests", "4", "--max-tokens", "3", "--size", "28")


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
async def test_with_media_each_request_carries_one_that_is_new(kind: str) -> None:
    client = FakeClient()
    async with served(client) as url:
        (level,) = await serve.measure(arguments(url, *MEDIA, "--media", kind, "--seconds", "0.2"))
    assert level.tokens == 12
    assert [[item.modality for item in media] for _, media, *_ in client.submitted] == [[kind]] * 5
    assert len(set(client.blobs.values())) == 5
    assert level.cells(kind)[0].name == f"{kind}, 2 streams"


async def test_several_kinds_take_turns() -> None:
    client = FakeClient()
    kinds = ["image", "audio", "video"]
    async with served(client) as url:
        asked = arguments(url, *MEDIA, "--media", ",".join(kinds), "--seconds", "0.2")
        await serve.measure(asked)
    sent = [item.modality for _, media, *_ in client.submitted for item in media]
    assert sorted(sent) == sorted([*kinds, "image", "audio"])  # the first makes it warm
    assert len(set(client.blobs.values())) == 5


async def test_a_share_of_the_media_was_sent_before() -> None:
    client = FakeClient()
    async with served(client) as url:
        asked = arguments(url, *MEDIA, "--requests", "9", "--media", "image", "--repeat", "0.5")
        await serve.measure(asked)
    assert len(client.submitted) == 10
    assert len(set(client.blobs.values())) == 5


@pytest.mark.parametrize(("share", "different"), [(0.0, 12), (0.25, 9), (1.0, 1)])
def test_a_share_holds_over_all_requests(share: float, different: int) -> None:
    made = media.Media(("audio",), 8, 0.1, share, 7, plain=False)
    parts = [made.next()["audio_url"]["url"] for _ in range(12)]
    assert len(set(parts)) == different
    again = media.Media(("audio",), 8, 0.1, share, 7, plain=False)
    assert [again.next()["audio_url"]["url"] for _ in range(12)] == parts


def test_sounds_have_openais_form_where_only_that_is_wanted() -> None:
    part = media.Media(("audio",), 8, 0.1, 0.0, 7, plain=True).next()
    assert part["type"] == "input_audio"
    assert part["input_audio"]["format"] == "wav"


def test_clips_and_sounds_are_as_long_and_large_as_was_asked() -> None:
    with av.open(io.BytesIO(media.clip_bytes(1, 33, 1.5)), "r") as clip:
        frames = list(clip.decode(video=0))
    assert len(frames) == 15
    assert (frames[0].width, frames[0].height) == (34, 34)
    assert frames[-1].time == pytest.approx(1.4)
    with av.open(io.BytesIO(media.sound_bytes(1, 0.5)), "r") as sound:
        assert sum(frame.samples for frame in sound.decode(audio=0)) == 8000


async def test_a_model_that_is_not_served_is_said_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = FakeClient()
    async with served(client) as url:
        with pytest.raises(ApiError, match="serves fake-model and no model 'nope'"):
            await serve.measure(arguments(url, "--model", "nope"))
    assert client.submitted == []
    assert capsys.readouterr().err == ""


def test_a_second_measurement_asks_other_things() -> None:
    assert len({arguments("http://a:1").seed for _ in range(4)}) > 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        *(
            (["--streams", text], "argument --streams: expected a number from 1")
            for text in ("", "a", "1,,2", "0")
        ),
        (["--requests", "-3"], "argument --requests: expected a number from 1"),
        (["--size", "0"], "argument --size: expected a number from 1 to 8192"),
        *(
            (["--media", text], "argument --media: expected image, video, audio, or several")
            for text in ("text", "", "image,", "image audio")
        ),
        (["--seconds", "1e9"], "argument --seconds: expected a number from 0.1 to 600"),
        (["--seconds", "nan"], "argument --seconds: expected a number from 0.1 to 600"),
        (["--repeat", "2"], "argument --repeat: expected a number from 0 to 1"),
        (["--max-tokens", "x"], "argument --max-tokens: expected a number"),
        (["--plot", "x.txt"], "argument --plot: expected a file that ends in .svg"),
        (["--plot", "/no/such/folder/x.svg"], "there is no folder '/no/such/folder'"),
    ],
)
def test_flags_that_make_no_sense_are_refused_at_once(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments("http://127.0.0.1:1", *flags)
    assert said in capsys.readouterr().err


async def test_no_server_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Api(f"http://127.0.0.1:{port}/v1") as api:
        with pytest.raises(ApiError, match=f"No server answers at http://127.0.0.1:{port}"):
            await api.model()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "",
        "http://",
        "http://[",
        "http://127.0.0.1:1/v2",
        "http://127.0.0.1:1/v1/models",
        "localhost:8000",
        "ftp://127.0.0.1",
        "http://a:99999",
    ],
)
async def test_what_is_no_address_is_said_with_one_that_is(url: str) -> None:
    with pytest.raises(ApiError, match="no server's address; it looks like"):
        Api(url)


@pytest.mark.parametrize("said", ["<html>", "[]", '{"data": []}', '{"data": [{}]}', "7", ""])
async def test_a_server_of_another_kind_is_said_in_words(said: str) -> None:
    async def models(request: web.Request) -> web.Response:
        return web.Response(text=said)

    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with Api(f"http://127.0.0.1:{runner.addresses[0][1]}") as api:
            with pytest.raises(ApiError, match="does not speak OpenAI's API"):
                await api.model()
    finally:
        await runner.cleanup()


def test_tokens_that_come_together_share_their_gap() -> None:
    sample = asking.Sample(0.5, [0.01, 0.01, 0.03], 4, 32)
    level = serve.summary(2, [sample, sample], 2.0)
    assert (level.tokens, level.prompt_tokens, level.tokens_per_second) == (8, 64, 4.0)
    assert (level.ttft_ms_p50, level.itl_ms_p50, level.itl_ms_p99) == (500.0, 10.0, 30.0)


def test_quantiles_of_nothing_are_zero() -> None:
    assert milliseconds([], 0.5) == 0.0


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (b'data: {"choices":[{"index":0,"text":"a"}]}', "a"),
        (b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}', "b"),
        (b'data: {"choices":[{"index":0,"delta":{}}],"unknown":1}', ""),
    ],
)
def test_chunks_of_both_apis_are_read(event: bytes, words: str) -> None:
    chunk: Any = read_event(event)
    assert chunk.choices[0].words == words
