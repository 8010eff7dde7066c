"""S22 to S24: `chat`."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thespis import LLM, SamplingParams

from ..helpers.media import data_url, picture, png
from ..helpers.serving import Server
from .faces import AsyncFace, Face, HttpFace, OfflineFace, ask, refusal

pytestmark = pytest.mark.process

ONE = SamplingParams(temperature=0, max_tokens=8)
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "You look closely."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello. Show me something."},
]


def url_part(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(seed)))}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def embeddings(seed: int) -> "np.ndarray[Any, Any]":
    """Of a picture of 56x56 pixels: [4, 64], as wide as the tiny model."""
    return np.random.default_rng(seed).normal(size=(4, 64)).astype(np.float32)


def embeds_part(face: Face, seed: int) -> dict[str, Any]:
    grid = [1, 4, 4]
    value: Any = embeddings(seed)
    if face.name == "http":
        file = io.BytesIO()
        np.save(file, value)
        value = base64.b64encode(file.getvalue()).decode()
    return {"type": "image_embeds", "image_embeds": {"image_embeds": value, "image_grid_thw": grid}}


def test_S22_raw_media_embeddings_and_text_in_one_message(face: Face) -> None:
    def conversation(seed: int) -> list[dict[str, Any]]:
        content = [
            text_part("This"),
            url_part(301),
            text_part("or that"),
            embeds_part(face, seed),
            text_part("?"),
        ]
        return [*HISTORY, {"role": "user", "content": content}]

    answers = [ask(face, messages=conversation(seed)) for seed in (1, 1, 2)]
    assert answers[0].media_tokens == {"image": 8}
    assert answers[0].token_ids == answers[1].token_ids != answers[2].token_ids


def test_S22_pictures_of_pil_beside_urls(llm: LLM, async_face: AsyncFace) -> None:
    pil = [{"type": "image_pil", "image_pil": picture(302)}, text_part("and"), url_part(303)]
    urls = [url_part(302), text_part("and"), url_part(303)]
    for face in (OfflineFace(llm), async_face):
        messages = [[*HISTORY, {"role": "user", "content": content}] for content in (pil, urls)]
        first, second = (ask(face, messages=m) for m in messages)
        assert first == second._replace(cached_tokens=first.cached_tokens)


def test_S22_a_picture_of_pil_does_not_travel_over_http(server: Server) -> None:
    refused = refusal(
        HttpFace(server), [text_part("x"), {"type": "image_pil", "image_pil": "a picture"}]
    )
    assert refused.status == 400
    assert refused.part == "messages[0].content[1].type"
    assert "image_pil" in refused.text


def test_S22_media_anywhere_in_the_history(face: Face) -> None:
    first: dict[str, Any] = {"role": "user", "content": [url_part(304), text_part("What is it?")]}
    last = {"role": "user", "content": [text_part("And this?"), url_part(305)]}
    messages = [first, {"role": "assistant", "content": "A mosaic."}, last]
    swapped = [{**first, "content": [url_part(305), text_part("What is it?")]}, messages[1], last]
    seen = ask(face, messages=messages)
    assert seen.media_tokens == {"image": 8}
    assert seen.token_ids != ask(face, messages=swapped).token_ids


def test_S74_a_picture_in_a_tools_result_is_seen(face: Face) -> None:
    def conversation(*seeds: int) -> list[dict[str, Any]]:
        call = {"name": "screenshot", "arguments": "{}"}
        calls = [{"id": "call_1", "type": "function", "function": call}]
        result = [text_part("The page:"), *map(url_part, seeds)]
        return [
            {"role": "user", "content": "Take one."},
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": result},
        ]

    one, two = ask(face, messages=conversation(311)), ask(face, messages=conversation(312, 311))
    assert (one.media_tokens, two.media_tokens) == ({"image": 4}, {"image": 8})
    assert one.token_ids != ask(face, messages=conversation(312)).token_ids


def frames(*seeds: int) -> list[dict[str, Any]]:
    """A clip as pictures: one JPEG for each frame."""
    parts = []
    for seed in seeds:
        file = io.BytesIO()
        picture(seed).save(file, "JPEG", quality=95)
        parts.append(
            {"type": "image_url", "image_url": {"url": data_url("image/jpeg", file.getvalue())}}
        )
    return parts


def test_S23_a_clip_as_pictures(face: Face) -> None:
    answer = ask(face, [text_part("What happens?"), *frames(1, 2, 3, 4)])
    assert answer.media_tokens == {"image": 16}
    assert (
        answer.token_ids != ask(face, [text_part("What happens?"), *frames(4, 3, 2, 1)]).token_ids
    )


def test_S23_one_frame_too_many(spare: LLM) -> None:
    face = OfflineFace(spare)
    assert ask(face, frames(1, 2, 3, 4)).media_tokens == {"image": 16}
    assert (
        "At most 4 image(s) may be provided in one prompt."
        in refusal(face, frames(1, 2, 3, 4, 5)).text
    )


TEMPLATE = (
    "{% if tools %}TOOLS {{ tools[0]['function']['name'] }}\n{% endif %}{{ greeting }}"
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}{% if "
    "add_generation_prompt %}[me] {% endif %}"
)
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


def rendered(face: OfflineFace | AsyncFace, **options: Any) -> list[int]:
    return ask(face, "Hi", **options).prompt_token_ids


def spelled(llm: LLM, prompt: str) -> list[int]:
    return llm.generate(prompt, ONE, use_tqdm=False)[0].prompt_token_ids


def test_S24_a_template_of_ones_own(llm: LLM, async_face: AsyncFace, tmp_path: Path) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text(TEMPLATE)
    for face in (OfflineFace(llm), async_face):
        assert rendered(face, chat_template=TEMPLATE) == spelled(llm, "[user] Hi\n[me] ")
        assert rendered(face, chat_template=str(file)) == spelled(llm, "[user] Hi\n[me] ")
        with_words = rendered(
            face, chat_template=TEMPLATE, chat_template_kwargs={"greeting": "Dear "}
        )
        assert with_words == spelled(llm, "Dear [user] Hi\n[me] ")
        with_tools = rendered(face, chat_template=TEMPLATE, tools=[TOOL])
        assert with_tools == spelled(llm, "TOOLS look_up\n[user] Hi\n[me] ")


ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = b %}{% endfor %}{% endfor %}"
)
NO_TEMPLATES = [
    "{% for %}",
    "/no/such/file.jinja",
    "{{ 1 / 0 }}",
    ENDLESS,
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
]


@pytest.mark.parametrize("template", NO_TEMPLATES)
def test_S24_S43_what_is_no_template(llm: LLM, async_face: AsyncFace, template: str) -> None:
    """A Python caller's renders in the sandbox too, and has no more time, which one of them
    spends."""
    faces: list[Face] = [OfflineFace(llm), async_face]
    for face in faces[: 1 if template == ENDLESS else 2]:
        refused = refusal(face, "Hi", chat_template=template)
        assert refused.status == 400
        assert "template" in refused.text


def test_S24_without_the_beginning_of_an_answer(face: Face, llm: LLM) -> None:
    answer = ask(face, "Hi", add_generation_prompt=False)
    assert answer.prompt_token_ids == spelled(llm, "<|im_start|>user\nHi<|im_end|>\n")
    assert ask(face, "Hi").prompt_token_ids == spelled(
        llm, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_S24_the_final_message_is_continued(face: Face, llm: LLM) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Once upon"}]
    answer = ask(face, messages=messages, continue_final_message=True, add_generation_prompt=False)
    begun = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nOnce upon"
    assert answer.prompt_token_ids == spelled(llm, begun)
    assert (
        ask(face, messages=messages, continue_final_message=True).prompt_token_ids
        == answer.prompt_token_ids
    )
    assert (
        refusal(
            face, messages=messages, continue_final_message=True, add_generation_prompt=True
        ).status
        == 400
    )


def test_S24_batches_of_conversations(llm: LLM) -> None:
    conversations = [
        [{"role": "user", "content": [url_part(310 + n), text_part(f"Number {n}?")]}]
        for n in range(5)
    ]
    together = llm.chat(conversations, ONE, use_tqdm=False)
    alone = [llm.chat(conversation, ONE, use_tqdm=False)[0] for conversation in conversations]
    assert [o.outputs[0].token_ids for o in together] == [o.outputs[0].token_ids for o in alone]
    each = [ONE.replace(max_tokens=n + 1, ignore_eos=True) for n in range(5)]
    lengths = [len(o.outputs[0].token_ids) for o in llm.chat(conversations, each, use_tqdm=False)]
    assert lengths == [1, 2, 3, 4, 5]


def test_S24_a_conversation_that_is_none(llm: LLM) -> None:
    assert refusal(OfflineFace(llm), messages=[{"content": "x"}]).part == "messages[0].role"
    assert (
        refusal(OfflineFace(llm), messages=[{"role": "user", "content": 5}]).part
        == "messages[0].content"
    )
