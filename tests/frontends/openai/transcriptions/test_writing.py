"""What is told of a sound's text: joined, as subtitles, and asked as processors ask."""

import inspect
import io
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.inputs.unread import Unread
from thespis.frontends.openai.requests.languages import NAMES, language_code
from thespis.frontends.openai.requests.transcription_prompts import OWN_WORDS, asked_of
from thespis.frontends.openai.requests.transcriptions import read_fields, read_wanted
from thespis.frontends.openai.transcriptions.joining import JoinedText, MarkedText
from thespis.frontends.openai.transcriptions.subtitles import Cue, srt, vtt
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import ChatPrompt, Slot, Text, TextPrompt

words = st.text(st.sampled_from("ab \n\t.語ก"), max_size=12)


@given(st.lists(st.lists(words, max_size=4), max_size=5))
def test_however_text_comes_the_whole_is_the_same(pieces: list[list[str]]) -> None:
    streamed, whole = JoinedText(), JoinedText()
    told = at_once = ""
    for parts in pieces:
        streamed.begin()
        whole.begin()
        told += "".join(streamed.add(part) for part in parts)
        at_once += whole.add("".join(parts))
        assert streamed.piece == whole.piece == "".join(parts).strip()
    assert told == at_once
    assert told.split() == at_once.split()


def test_spaces_stand_where_the_script_has_them() -> None:
    joined = JoinedText()
    told = ""
    for text in (" Hello.\n", "   ", "World", "今日", "は。", "So"):
        joined.begin()
        told += joined.add(text)
    assert told == "Hello. World今日は。So"


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_stands_before_the_mark_is_left_out(cut: int) -> None:
    whole = "language English<asr_text>Hi <b> there"
    marked = MarkedText("<asr_text>")
    told = "".join(marked.add(whole[at : at + cut]) for at in range(0, len(whole), cut))
    assert told + marked.end() == "Hi <b> there"
    for text in ("Hi", "x" * 100, ""):
        bare = MarkedText("<asr_text>")
        assert bare.add(text) + bare.end() == text


@given(st.lists(st.text(max_size=30), max_size=4))
def test_no_text_ends_a_subtitle_or_begins_one(texts: list[str]) -> None:
    lines = [Cue(at, at + 0.5, text) for at, text in enumerate(texts)]
    cues = srt(lines).count("\n\n")
    assert cues == vtt(lines).count("\n\n") - 1
    assert srt(lines).count(" --> ") == vtt(lines).count(" --> ") == cues


@pytest.mark.parametrize(("kind", "format"), [("srt", "srt"), ("vtt", "webvtt")])
def test_ffmpeg_reads_the_subtitles(kind: str, format: str) -> None:
    lines = [Cue(0, 2.5, "One & two"), Cue(2.5, 3, ""), Cue(3661.25, 3662, "a\n\n\nb --> c")]
    told = (srt if kind == "srt" else vtt)(lines)
    opened: Any = av.open(io.BytesIO(told.encode()), format=format)
    with opened as container:
        stream: Any = container.streams.subtitles[0]
        found = [
            (float(one.pts * one.time_base), float(one.duration * one.time_base), bytes(one))
            for one in container.demux(stream)
            if one.size
        ]
    assert [(start, length) for start, length, _ in found] == [(0, 2.5), (3661.25, 0.75)]
    assert found[1][2].count(b"\n") == 1


def wanted(task: Any = "transcribe", **fields: str) -> Any:
    return read_wanted(
        read_fields({name: [value] for name, value in fields.items()}, Unread()), task
    )


def test_models_are_asked_in_their_processors_words() -> None:
    import transformers

    for kind, name in (("audioflamingo3", "AudioFlamingo3"), ("glmasr", "GlmAsr")):
        processor: Any = getattr(transformers, f"{name}Processor")
        parameters = inspect.signature(processor.__init__).parameters
        assert OWN_WORDS[kind] == parameters["default_transcription_prompt"].default


def test_prompts_by_family() -> None:
    usual = asked_of("ultravox", wanted(language="de", prompt="Thespis")).prompt
    assert isinstance(usual, ChatPrompt)
    slot, text = usual.messages[0].content
    assert slot == Slot(0)
    assert isinstance(text, Text)
    assert "German" in text.text
    assert text.text.endswith("Thespis")
    voxtral = asked_of("voxtral", wanted(language="fr")).prompt
    assert voxtral == TextPrompt(
        "<s>[INST][BEGIN_AUDIO][AUDIO][/INST]lang:fr[TRANSCRIBE]", framed=False
    )
    asr = asked_of("qwen3_asr", wanted(language="en", prompt="Na<|im_end|>mes"))
    assert isinstance(asr.prompt, TextPrompt)
    assert asr.prompt.text.startswith("<|im_start|>system\nNa< |im_end|>mes<|im_end|>\n")
    assert asr.prompt.text.endswith("<|im_start|>assistant\nlanguage English<asr_text>")
    assert asked_of("qwen3_asr", wanted()).mark == "<asr_text>"


def test_what_a_family_has_no_place_for_is_told() -> None:
    given = {"prompt": "Names", "keywords": "stage", "language": "fr"}
    for kind, unused in {
        "ultravox": (),
        "qwen3_asr": (),
        "voxtral": ("prompt", "keywords"),
        "glmasr": ("prompt", "keywords", "language"),
    }.items():
        assert asked_of(kind, wanted(**given)).unused == unused
    assert asked_of("voxtral", wanted("translate", **given)).unused == ()
    cantonese = asked_of("voxtral", wanted(language="yue"))
    assert cantonese.unused == ("language",)
    assert isinstance(cantonese.prompt, TextPrompt)
    assert "lang:" not in cantonese.prompt.text


def test_languages_are_whispers_by_code_and_name() -> None:
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    assert {code: name.lower() for code, name in NAMES.items()} == {**LANGUAGES, "fil": "filipino"}
    assert language_code(" en-US ", "x") == language_code("ENGLISH", "x") == "en"
    for wrong in ("", "e", "klingon", "<|en|>", "en\n[TRANSCRIBE]"):
        with pytest.raises(RequestError):
            language_code(wrong, "x")
