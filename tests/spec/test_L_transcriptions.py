"""The text of a sound, by the official client over an engine that hears."""

import base64
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from typing import Any

import av
import numpy as np
import openai
import pytest
import soundfile

from ..helpers.media import wav
from ..helpers.serving import Server
from ..helpers.speech import PAUSES, SECONDS, recorded, speech
from .faces import ALICE

pytestmark = pytest.mark.process

INSTRUCTION = "Write down the speech in this audio, word for word. Answer with the text alone."
FEW = {"max_completion_tokens": 6}
IN_PIECES = {**FEW, "piece_seconds": 5}
LONG = ("talk.wav", recorded("wav"))
PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=ALICE, max_retries=5) as api:
        yield api


def chat(server: Server, data: bytes, instruction: str = INSTRUCTION) -> str:
    """What a chat says of the same sound."""
    sound = {"data": base64.b64encode(data).decode(), "format": "wav"}
    content = [{"type": "input_audio", "input_audio": sound}, {"type": "text", "text": instruction}]
    reply = server.chat(content, max_tokens=6)
    assert reply.status == 200, reply.body
    text: str = reply.body["choices"][0]["message"]["content"]
    return text.strip()


@cache
def cut(start: float, end: float) -> bytes:
    """Of the long sound, by libsndfile."""
    samples, rate = soundfile.read(io.BytesIO(LONG[1]), dtype="float32")
    mono = samples.mean(axis=1, dtype=np.float32)[round(start * rate) : round(end * rate)]
    file = io.BytesIO()
    soundfile.write(file, mono, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def form(server: Server, parts: list[tuple[str, str | None, bytes]], **more: str) -> Any:
    """(status, body, headers) of a form whose parts we write ourselves."""
    body = b""
    for name, filename, content in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        body += f'--xyz\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += content + b"\r\n"
    body += b"--xyz--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=xyz", **more}
    headers["Authorization"] = f"Bearer {ALICE}"
    request = urllib.request.Request(server.url + PATH, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read()), refused.headers


@pytest.mark.parametrize("name", ["wav", "mp3", "flac", "ogg", "m4a", "webm"])
def test_S70_every_container_says_what_a_chat_says(
    name: str, server: Server, api: openai.OpenAI
) -> None:
    data = recorded(name, 2.0)
    heard = api.audio.transcriptions.create(file=(f"a.{name}", data), model="tiny", extra_body=FEW)
    assert heard.text == chat(server, data)
    assert heard.usage is not None
    assert heard.usage.type == "tokens"
    assert heard.usage.input_token_details is not None
    audio, text = heard.usage.input_token_details.audio_tokens, heard.usage.input_tokens
    assert 40 < (audio or 0) < text
    assert heard.usage.total_tokens == text + heard.usage.output_tokens
    with pytest.warns(DeprecationWarning, match="deprecated"):  # the client's, of the whole path
        translated = api.audio.translations.create(
            file=(f"a.{name}", data), model="tiny", extra_body=FEW
        )
    wanted = "Translate the speech in this audio into English. Answer with the text alone."
    assert translated.text == chat(server, data, wanted)


def test_S70_a_long_sound_is_heard_in_pieces_and_each_says_what_a_chat_says(
    server: Server, api: openai.OpenAI
) -> None:
    heard = api.audio.transcriptions.create(
        file=LONG, model="tiny", response_format="verbose_json", extra_body=IN_PIECES,
        timestamp_granularities=["segment"], language="en",
    )  # fmt: skip
    segments = heard.segments or []
    assert (heard.duration, heard.language) == (SECONDS, "english")
    assert heard.usage is not None
    assert heard.usage.seconds == SECONDS
    assert [one.start for one in segments] == [0.0, *(one.end for one in segments[:-1])]
    assert segments[-1].end == SECONDS
    for one in segments[1:]:
        assert min(abs(one.start - pause) for pause in PAUSES) < 0.3
    asked = INSTRUCTION.replace(". A", ". It is in English. A")
    for one in segments:
        assert one.text == chat(server, cut(one.start, one.end), asked)
        assert one.avg_logprob < 0
        assert len(one.tokens) <= 6
    assert heard.text.split() == " ".join(one.text for one in segments).split()


def test_S70_subtitles_are_read_by_ffmpeg(api: openai.OpenAI) -> None:
    ask: Any = api.audio.transcriptions.create
    heard = ask(file=LONG, model="tiny", response_format="verbose_json", extra_body=IN_PIECES)
    wanted = [
        (round(one.start, 2), round(one.end, 2)) for one in heard.segments if one.text.strip()
    ]
    for kind, format in (("srt", "srt"), ("vtt", "webvtt")):
        told = ask(file=LONG, model="tiny", response_format=kind, extra_body=IN_PIECES)
        opened: Any = av.open(io.BytesIO(told.encode()), format=format)
        with opened as container:
            stream = container.streams.subtitles[0]
            packets = [packet for packet in container.demux(stream) if packet.size]
            times = [
                (
                    round(float(packet.pts * packet.time_base), 2),
                    round(float((packet.pts + packet.duration) * packet.time_base), 2),
                )
                for packet in packets
            ]
        assert np.allclose(times, wanted, atol=0.011)
    text = ask(file=LONG, model="tiny", response_format="text", extra_body=IN_PIECES)
    assert text == heard.text + "\n"


def test_S70_a_stream_tells_the_same_piece_by_piece(api: openai.OpenAI) -> None:
    asked: Any = {"file": LONG, "model": "tiny", "include": ["logprobs"], "extra_body": IN_PIECES}
    whole = api.audio.transcriptions.create(**asked)
    events = list(api.audio.transcriptions.create(**asked, stream=True))
    *deltas, done = events
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == whole.text
    assert done.usage is not None
    assert done.usage.model_dump() == whole.usage.model_dump()
    told = [score for event in deltas for score in event.logprobs or []]
    assert len(told) == len(done.logprobs or []) == len(whole.logprobs or []) > 12


def test_S70_a_caller_that_leaves_half_way_leaves_nothing(
    server: Server, api: openai.OpenAI
) -> None:
    asked: Any = {"file": LONG, "model": "tiny", "extra_body": {"piece_seconds": 1}}
    with api.audio.transcriptions.create(**asked, stream=True) as stream:
        next(iter(stream))
    until = time.monotonic() + 20
    while server.ask("/load").body["server_load"] and time.monotonic() < until:
        time.sleep(0.05)
    assert server.ask("/load").body["server_load"] == 0


def test_S70_silence_is_cut_and_asked_like_everything_else(
    server: Server, api: openai.OpenAI
) -> None:
    silence = wav(np.zeros(16_000 * 7, np.float32))
    heard = api.audio.transcriptions.create(
        file=("s.wav", silence), model="tiny", response_format="verbose_json",
        extra_body={**FEW, "piece_seconds": 3},
    )  # fmt: skip
    assert [(one.start, one.end) for one in heard.segments or []] == [(0, 3), (3, 6), (6, 7)]
    short = api.audio.transcriptions.create(
        file=("s.wav", wav(np.zeros(8000, np.float32))), model="tiny", extra_body=FEW
    )
    assert short.text == chat(server, wav(np.zeros(8000, np.float32)))


REFUSED: dict[str, tuple[list[tuple[str, str | None, bytes]], int, str, str | None]] = {
    "no file": ([("model", None, b"tiny")], 400, "missing_field", "file"),
    "nothing in it": ([("file", "a.wav", b"")], 400, "empty_file", "file"),
    "no sound": ([("file", "a.wav", b"RIFFnothing")], 422, "unprocessable_media", "file"),
    "two files": ([("file", "a", b"x"), ("file", "b", b"x")], 400, "too_many_files", "file"),
    "another model": ([("file", "a", b"x"), ("model", None, b"gpt")], 404, "model_not_found",
                      "model"),
    "speakers": ([("file", "a", b"x"), ("response_format", None, b"diarized_json")], 400,
                 "unsupported", "response_format"),
    "a known speaker": ([("file", "a", b"x"), ("known_speaker_names[]", None, b"Ann")], 400,
                        "unsupported", "known_speaker_names"),
    "no format": ([("file", "a", b"x"), ("response_format", None, b"docx")], 400, "wrong_type",
                  "response_format"),
    "words": ([("file", "a", b"x"), ("timestamp_granularities[]", None, b"word")], 400,
              "unsupported", "timestamp_granularities"),
    "a stream of subtitles": ([("file", "a", b"x"), ("stream", None, b"true"),
                               ("response_format", None, b"srt")], 400, "contradicting_fields",
                              "response_format"),
    "hot": ([("file", "a", b"x"), ("temperature", None, b"hot")], 400, "wrong_type",
            "temperature"),
    "too hot": ([("file", "a", b"x"), ("temperature", None, b"1e9")], 400, "out_of_range",
                "temperature"),
    "no number": ([("file", "a", b"x"), ("temperature", None, b"nan")], 400, "out_of_range",
                  "temperature"),
    "a long piece": ([("file", "a", b"x"), ("piece_seconds", None, b"1e308")], 400, "out_of_range",
                     "piece_seconds"),
    "no piece": ([("file", "a", b"x"), ("piece_seconds", None, b"nan")], 400, "out_of_range",
                 "piece_seconds"),
    "a language, and others": (
        [("file", "a", b"x"), ("language", None, b"en"), ("languages[]", None, b"de")], 400,
        "contradicting_fields", "languages"),
    "a language of nobody": ([("file", "a", b"x"), ("language", None, b"<|zz|>")], 400,
                             "unknown_language", "language"),
    "a limit that is not known": ([("file", "a", b"x"), ("max_words", None, b"3")], 400,
                                  "unknown_field", "max_words"),
    "a field twice": ([("file", "a", b"x"), ("seed", None, b"3"), ("seed", None, b"4")], 400,
                      "invalid_form", "seed"),
    "a long field": ([("file", "a", b"x"), ("prompt", None, b"x" * 20_000)], 400, "invalid_form",
                     "prompt"),
    "a prompt beyond the context": (
        [("file", "a", wav(speech(16_000, 1.0))), ("prompt", None, b"so " * 5000)], 400,
        "context_length_exceeded", "prompt"),
    "keywords beyond the context": (
        [("file", "a", wav(speech(16_000, 1.0))), ("keywords[]", None, b"so " * 5000)], 400,
        "context_length_exceeded", "keywords"),
    "no text": ([("file", "a", b"x"), ("prompt", None, b"\xff")], 400, "invalid_form", "prompt"),
    "a wrong id": ([("file", "a", b"x"), ("request_id", None, b"a b")], 400, "invalid_request_id",
                   "request_id"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_S70_what_is_wrong_is_named(name: str, server: Server) -> None:
    parts, status, code, part = REFUSED[name]
    got, body, _ = form(server, parts)
    assert (got, body["error"]["code"], body["error"]["param"]) == (status, code, part)


def test_S70_unknown_fields_are_told_and_usual_ones_taken(server: Server) -> None:
    sound = ("file", "../../etc/x.wav", wav(speech(16_000, 1.0)))
    more = {
        "model": "tiny", "colour": "red", "chunking_strategy[type]": "server_vad",
        "chunking_strategy[threshold]": "0.5", "prompt": "Names: Thespis", "temperature": "0",
        "seed": "7", "max_completion_tokens": "4", "keywords[]": "stage", "language": "EN-us",
        "response_format": "text",
    }  # fmt: skip
    fields = [(name, None, value.encode()) for name, value in more.items()]
    status, body, headers = form(server, [*fields, sound], **{"X-Request-Id": "mine"})
    assert status == 200, body
    assert headers["X-Thespis-Ignored-Fields"] == "chunking_strategy[threshold], colour"
    assert headers["X-Request-Id"] == "mine"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


def test_S70_errors_of_the_official_client(server: Server, api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        api.audio.transcriptions.create(file=LONG, model="whisper-1")
    with pytest.raises(openai.BadRequestError, match="speakers"):
        api.audio.transcriptions.create(file=LONG, model="tiny", response_format="diarized_json")
    with pytest.raises(openai.UnprocessableEntityError, match="file"):
        api.audio.transcriptions.create(file=("x.mp3", b"no sound"), model="tiny", stream=True)
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.audio.transcriptions.create(file=LONG, model="tiny")
