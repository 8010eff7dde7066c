"""How the models that transcribe are asked for the text of a sound, as the preprocessor makes it of
a call's fields: the tokens that transformers' own processors write, and then its own answer."""

from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.inputs.unread import Unread
from thespis.frontends.openai.requests.languages import NAMES
from thespis.frontends.openai.requests.transcription_prompts import asked_of
from thespis.frontends.openai.requests.transcriptions import Wanted, read_fields, read_wanted
from thespis.gpu_runtime.processing import load
from thespis.protocol.requests.request import TextPrompt

from ..actors.preprocessor import parts
from ..helpers.media import sound
from ..helpers.reference import Media
from .catalog import Zoo
from .composing import CLOSE, Asked, prompt_of, run_all
from .reference import Reference, reference_for

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
SOUND = sound(1, 1.3)
TOKENS = 8
ASR_TEMPLATE = (
    "<|im_start|>system\n{% for message in messages if message['role'] == 'system' %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}<|im_end|>\n"
    "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n<|im_start|>assistant\n"
    "{% for part in messages[-1]['content'] %}{{ part['text'] }}{% endfor %}"
)
"""Of Qwen3-ASR, with the beginning of an answer, which the processor of transformers continues."""
FIELDS: list[dict[str, str]] = [
    {},
    {"language": "de"},
    {"language": "yue", "prompt": "Names: Thespis."},
    {"prompt": "Two\n\nlines, and a  gap "},
]


def wanted(fields: dict[str, str]) -> Wanted:
    given = {name: [value] for name, value in fields.items()}
    return read_wanted(read_fields(given, Unread()), "transcribe")


def ids_of(folder: Path, model_type: str, fields: dict[str, str]) -> tuple[str, list[int]]:
    """The text of the prompt, and what the preprocessor makes of it."""
    prompt = asked_of(model_type, wanted(fields)).prompt
    assert isinstance(prompt, TextPrompt)
    item = load(folder).item("audio", SOUND, {})
    return prompt.text, list(parts.prepared(parts.load(folder), prompt, ("audio", item)).token_ids)


@pytest.mark.parametrize("fields", FIELDS, ids=range(len(FIELDS)))
def test_qwen3_asr_is_asked_as_its_processor_asks(fields: dict[str, str], zoo: Zoo) -> None:
    folder = zoo("qwen3_asr")
    reference = reference_for("qwen3_asr", folder)
    given: dict[str, Any] = {
        "language": fields.get("language"),
        "prompt": fields["prompt"].strip() if "prompt" in fields else None,
    }
    oracle = reference.processor.apply_transcription_request(
        [SOUND], **given, chat_template=ASR_TEMPLATE, return_tensors="pt"
    )
    text, ids = ids_of(folder, "qwen3_asr", fields)
    assert ids == oracle["input_ids"][0].tolist()
    if fields == FIELDS[-1]:
        answers(folder, reference, text, ids)


def test_languages_have_the_names_by_which_qwen3_asr_was_trained() -> None:
    from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

    assert {code: NAMES[code] for code in LANGUAGE_CODE_TO_NAME} == LANGUAGE_CODE_TO_NAME


@pytest.mark.parametrize("fields", FIELDS[:2], ids=range(2))
def test_voxtral_is_asked_as_its_library_asks(fields: dict[str, str], zoo: Zoo) -> None:
    """mistral_common writes so many [AUDIO] as there are rows, and no words of its own."""
    folder = zoo("voxtral")
    reference = reference_for("voxtral", folder)
    text, ids = ids_of(folder, "voxtral", fields)
    known = reference.tokenizer.convert_tokens_to_ids
    head = [known(name) for name in ("<s>", "[INST]", "[BEGIN_AUDIO]")]
    said = [f"lang:{fields['language']}"] if fields else []
    spoken = [
        id
        for words in said
        for id in reference.tokenizer(words, add_special_tokens=False).input_ids
    ]
    assert ids == [
        *head, *[known("[AUDIO]")] * 375, known("[/INST]"), *spoken, known("[TRANSCRIBE]"),
    ]  # fmt: skip
    if not fields:
        answers(folder, reference, text, ids)


def answers(folder: Path, reference: Reference, text: str, ids: list[int]) -> None:
    """A whole model says what transformers' says to the same tokens."""
    media = Media(audio=(SOUND,))
    answer = reference.answer(text, media, TOKENS)
    prompt = prompt_of(folder, reference, text, media)
    assert list(prompt.token_ids) == ids == answer.prompt_token_ids
    [said] = run_all(folder, [Asked(prompt, answer)], TOKENS)
    assert said.token_ids[: answer.safe] == answer.token_ids[: answer.safe]
    assert said.apart(answer) < CLOSE
