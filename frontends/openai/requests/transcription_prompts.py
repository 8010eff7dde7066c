"""How models are asked for the text of a sound: by the words that their own processors write for it
in transformers, where there are such, otherwise by an instruction beside the sound. Pure."""

from typing import NamedTuple

from ....protocol.requests.request import ChatMessage, ChatPrompt, Prompt, Slot, Text, TextPrompt
from .languages import NAMES
from .transcriptions import Wanted

USUAL = "Write down the speech in this audio, word for word."
TRANSLATED = "Translate the speech in this audio into English."
ALONE = " Answer with the text alone."
OWN_WORDS = {
    "audioflamingo3": "Transcribe the input speech.",
    "musicflamingo": "Transcribe the input speech.",
    "glmasr": "Please transcribe this audio into text",
    "granite_speech": "can you transcribe the speech into a written format?",
    "granite_speech_plus": "can you transcribe the speech into a written format?",
}
"""By model type: what a model was trained on."""
ASR_MARK = "<asr_text>"


class Wording(NamedTuple):
    """One request for one piece."""

    prompt: Prompt
    mark: str = ""
    """Behind which the answer's text begins, if it is there."""
    unused: tuple[str, ...] = ()
    """Fields of the call that have no place in it."""


def asked_of(model_type: str, wanted: Wanted) -> Wording:
    """Of the model's only item, slot 0."""
    languages = [NAMES[code] for code in wanted.languages]
    if wanted.task == "transcribe" and model_type == "voxtral":
        # By two letters, as it was trained.
        codes = [f"lang:{code}" for code in wanted.languages if len(code) == 2][:1]
        text = f"<s>[INST][BEGIN_AUDIO][AUDIO][/INST]{''.join(codes)}[TRANSCRIBE]"
        unused = _unused(wanted, len(codes))
        return Wording(TextPrompt(text, framed=False), unused=unused)
    if wanted.task == "transcribe" and model_type == "qwen3_asr":
        return _qwen3_asr(languages, wanted.hint)
    if wanted.task == "transcribe" and model_type in OWN_WORDS:
        return _with_words(OWN_WORDS[model_type], _unused(wanted, languages=0))
    return _with_words(_words(wanted, languages))


def _with_words(words: str, unused: tuple[str, ...] = ()) -> Wording:
    prompt = ChatPrompt((ChatMessage("user", (Slot(0), Text(words))),))
    return Wording(prompt, unused=unused)


def _unused(wanted: Wanted, languages: int) -> tuple[str, ...]:
    """Where nothing is said of what may occur, and of so many languages."""
    return (*wanted.hints, *(("language",) if len(wanted.languages) > languages else ()))


def _words(wanted: Wanted, languages: list[str]) -> str:
    spoken = f" It is in {' or '.join(languages)}." if languages else ""
    hint = f" These words may help: {wanted.hint}" if wanted.hint else ""
    return (TRANSLATED if wanted.task == "translate" else USUAL) + spoken + ALONE + hint


def _qwen3_asr(languages: list[str], hint: str) -> Wording:
    hint = hint.replace("<|", "< |")  # it spells no control token
    text = (
        f"<|im_start|>system\n{hint}<|im_end|>\n<|im_start|>user\n"
        "<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    if not languages:
        return Wording(TextPrompt(text), ASR_MARK)
    # The answer goes on behind what it would begin with of its own accord.
    return Wording(TextPrompt(f"{text}language {languages[0]}{ASR_MARK}"))
