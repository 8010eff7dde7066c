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


def asked_of(model_type: str, wanted: Wanted) -> Wording:
    """Of the model's only item, slot 0."""
    languages = [NAMES[code] for code in wanted.languages]
    if wanted.task == "transcribe" and model_type == "voxtral":
        code = f"lang:{wanted.languages[0]}" if wanted.languages else ""
        text = f"<s>[INST][BEGIN_AUDIO][AUDIO][/INST]{code}[TRANSCRIBE]"
        return Wording(TextPrompt(text, framed=False))
    if wanted.task == "transcribe" and model_type == "qwen3_asr":
        return _qwen3_asr(languages, wanted.hint)
    words = _words(model_type, wanted, languages)
    return Wording(ChatPrompt((ChatMessage("user", (Slot(0), Text(words))),)))


def _words(model_type: str, wanted: Wanted, languages: list[str]) -> str:
    if wanted.task == "transcribe" and model_type in OWN_WORDS:
        return OWN_WORDS[model_type]
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
