"""Which chat template a model has, and what the built-in ones write."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from transformers import ProcessorMixin

from thespis.protocol.chat_templates.source import (
    built_in_names,
    chat_template_of,
    no_template,
    operator_template,
)
from thespis.protocol.errors import EngineError
from thespis.protocol.requests.request import Prompt

from ...actors.preprocessor.parts import chat, item, load
from ...helpers.checkpoints import Checkpoints, Family
from ...helpers.facts import facts_of

FILES = (
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "tokenizer_config.json",
)


def write(folder: Path, name: str, template: object) -> None:
    file = folder / name
    if name.endswith(".jinja"):
        file.write_text(str(template))
    else:
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**known, "chat_template": template}))


@pytest.fixture
def bare(checkpoints: Checkpoints, tmp_path: Path) -> Path:
    """A checkpoint without any template of its own."""
    folder = shutil.copytree(checkpoints("qwen_vl"), tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    return folder


def test_S42_the_files_of_a_checkpoint_in_their_order_then_the_built_in_one(bare: Path) -> None:
    info = facts_of(bare)
    built_in = chat_template_of(info, None)
    assert built_in is not None
    assert "<|image_pad|>" in built_in
    for name in reversed(FILES):
        write(bare, name, f"{{{{ '{name}' }}}}")
        assert chat_template_of(info, None) == f"{{{{ '{name}' }}}}"
        if (
            name != "tokenizer_config.json"
        ):  # the order in which transformers looks for the processor's
            assert (
                ProcessorMixin.get_processor_dict(bare)[0]["chat_template"] == f"{{{{ '{name}' }}}}"
            )
    assert chat_template_of(info, "{{ 'the operator' }}") == "{{ 'the operator' }}"


def test_S42_of_several_named_templates_the_default_one(bare: Path) -> None:
    named = [
        {"name": "tool_use", "template": "{{ 1 }}"},
        {"name": "default", "template": "{{ 2 }}"},
    ]
    write(bare, "tokenizer_config.json", named)
    assert chat_template_of(facts_of(bare), None) == "{{ 2 }}"


def test_S42_the_operators_word_is_a_file_jinja_or_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.jinja").write_text("{{ 'from a file' }}")
    Path("llava").mkdir()  # a folder of that name, such as the model's, is no template
    assert (
        operator_template("mine.jinja")
        == operator_template(str(tmp_path / "mine.jinja"))
        == "{{ 'from a file' }}"
    )
    assert operator_template("{{ messages }}") == "{{ messages }}"
    assert "ASSISTANT:" in operator_template("llava")
    Path("chatml").write_text("{{ 'a file goes before a name' }}")
    assert operator_template("chatml") == "{{ 'a file goes before a name' }}"


@pytest.mark.parametrize(
    "value",
    ["no/such.jinja", "./chatml", "chatml.jinja", "ChatML", "", "words", "x" * 5000, "a\0b"],
)
def test_S42_what_is_none_of_them_is_refused(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="The chat template"):
        operator_template(value)


def test_S42_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(EngineError, match="cannot be read"):
        operator_template(str(tmp_path / "picture"))


def test_S42_a_type_without_a_built_in_one_has_none_and_is_told_how_to_give_one(bare: Path) -> None:
    strange = msgspec.structs.replace(facts_of(bare), model_type="strange")
    assert chat_template_of(strange, None) is None
    text = str(no_template(strange))
    assert "--chat-template" in text
    assert "'strange'" in text
    assert all(name in text for name in built_in_names())


QUESTION = chat(0, "What?", add_generation_prompt=True)


@pytest.mark.parametrize(
    ("family", "name", "text"),
    [
        ("llava", "llava", "USER: <image>\nWhat? ASSISTANT:"),
        (
            "qwen_vl",
            "qwen_vl",
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            "<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "qwen_omni",
            "qwen_omni",
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            "<|vision_bos|><|IMAGE|><|vision_eos|>What?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "qwen_vl",
            "chatml",
            "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>\nWhat?<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_S42_what_the_built_in_templates_write(
    checkpoints: Checkpoints, family: Family, name: str, text: str
) -> None:
    question: Prompt = QUESTION
    assert load(checkpoints(family)).renderer(name).render(question, (item(),)).text == text


ELSEWHERE = ["paligemma"]
"""Tried with a checkpoint of the zoo, whose processor frames what it writes."""
VECTORS = ["vlm2vec_phi3v", "vlm2vec_qwen2vl"]
"""Tried where vectors are: their chats ask for no answer."""


def test_S42_every_built_in_template_is_tried() -> None:
    assert built_in_names() == sorted(
        ["chatml", "llava", "qwen2_audio", "qwen_omni", "qwen_vl", *ELSEWHERE, *VECTORS]
    )
