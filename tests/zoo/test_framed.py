"""What a processor writes around every prompt, and what of it must stay whole, as the
preprocessor's shell makes it."""

import pytest
import torch

from thespis.gpu_runtime.models.encoder import load_encoder
from thespis.gpu_runtime.processing import ProcessedItem, load
from thespis.protocol.requests.request import Modality, TextPrompt

from ..actors.preprocessor import parts
from ..helpers.media import picture
from ..helpers.reference import Media
from .catalog import Zoo
from .reference import reference_for

WORDS = "What is it, and why?"
MARKS = {"molmo2": "<|image|>", "paligemma": "<image>"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", MARKS)
def test_prompts_are_framed_as_by_the_processor_and_their_stretches_are_whole(
    name: str, zoo: Zoo
) -> None:
    made, reference, mark = parts.load(zoo(name)), reference_for(name, zoo(name)), MARKS[name]
    pictures = (picture(1, 90, 60), picture(2, 56, 80))
    processor = load(zoo(name))
    items: list[tuple[Modality, ProcessedItem]] = [
        ("image", processor.item("image", one, {}, siblings=True)) for one in pictures
    ]
    text = f"{mark}And {mark}{WORDS}"
    prompt = parts.prepared(made, TextPrompt(text), *items)
    assert (
        list(prompt.token_ids)
        == reference.inputs(text, Media(images=pictures))["input_ids"][0].tolist()
    )
    whole = {"prompt": (0, len(prompt.token_ids))}
    if name == "molmo2":  # with the marks of rows, between and around the pictures' own
        first, last = prompt.items[0].spans[0].start, prompt.items[-1].spans[-1].end
        whole = {"items": (first - 1, last + 2)}
    assert prompt.unbroken == (whole[made.model.span_scope],)
    alone = parts.prepared(made, TextPrompt(WORDS))
    assert list(alone.token_ids) == reference.inputs(WORDS)["input_ids"][0].tolist()
    chat = parts.prepared(made, parts.chat(0, WORDS, add_generation_prompt=True), items[0])
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": WORDS}]}]
    said = reference.inputs(reference.text(messages), Media(images=pictures[:1]))
    assert list(chat.token_ids) == said["input_ids"][0].tolist()


def test_pictures_whose_patches_are_numbered_are_the_same_in_company(zoo: Zoo) -> None:
    folder = zoo("molmo2")
    processor, encoder = load(folder), load_encoder(parts.load(folder).model, "float32", "cpu", 1)
    made = [
        processor.item("image", picture(number, 90, 60), {}, siblings=False).parts[0]
        for number in (1, 2)
    ]
    items = [
        {name: torch.from_numpy(value) for name, value in part.tensors.items()} for part in made
    ]
    together = encoder.encode("image", items, [part.rows for part in made])
    for rows, item, part in zip(together, items, made, strict=True):
        torch.testing.assert_close(rows, encoder.encode("image", [item], [part.rows])[0])
