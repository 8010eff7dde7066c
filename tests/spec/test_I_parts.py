"""S44, S45, S47 and S48: the parts of a message, on every face."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from thespis import LLM

from ..helpers.media import clip, data_url, picture, png, sound, wav
from ..helpers.serving import Server
from .counting import Watch, Work
from .faces import AsyncFace, Face, HttpFace, OfflineFace, ask, refusal
from .troupe import text

pytestmark = pytest.mark.process

Part = dict[str, Any]


def url(kind: str, seed: int) -> str:
    content = {
        "image": lambda: png(picture(seed)),
        "video": lambda: clip(seed),
        "audio": lambda: wav(sound(seed)),
    }[kind]()
    return data_url(
        {"image": "image/png", "video": "video/mp4", "audio": "audio/wav"}[kind], content
    )


def embeds(kind: str, seed: int) -> Part:
    """Of a picture of 56x56 pixels, a clip of two of them, or a short sound: [rows, 64], and the
    grid of what has one."""
    rows = {"image": 4, "video": 4, "audio": 6}[kind]
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).normal(size=(rows, 64)).astype(np.float32))
    grid = {} if kind == "audio" else {f"{kind}_grid_thw": [1, 4, 4]}
    return {f"{kind}_embeds": base64.b64encode(file.getvalue()).decode(), **grid}


def heard(seed: int) -> Part:
    return {"data": base64.b64encode(wav(sound(seed))).decode(), "format": "wav"}


FORMS: dict[str, Callable[[int], list[Part]]] = {
    "image_url": lambda seed: [
        {"type": "image_url", "image_url": {"url": url("image", seed)}},
        {"type": "image_url", "image_url": {"url": url("image", seed), "detail": "auto"}},
        {"type": "image_url", "image_url": url("image", seed)},
        {"image_url": {"url": url("image", seed)}},
        {"image_url": url("image", seed)},
        {"type": "input_image", "image_url": url("image", seed)},
        {"type": "input_image", "image_url": {"url": url("image", seed)}},
    ],
    "video_url": lambda seed: [
        {"type": "video_url", "video_url": {"url": url("video", seed)}},
        {"type": "video_url", "video_url": url("video", seed)},
        {"video_url": url("video", seed)},
    ],
    "audio_url and input_audio": lambda seed: [
        {"type": "audio_url", "audio_url": {"url": url("audio", seed)}},
        {"audio_url": url("audio", seed)},
        {"type": "input_audio", "input_audio": heard(seed)},
        {"input_audio": heard(seed)},
    ],
    **{
        f"{kind}_embeds": lambda seed, kind=kind: [  # type: ignore[misc]
            {"type": f"{kind}_embeds", **embeds(kind, seed)},
            {"type": f"{kind}_embeds", f"{kind}_embeds": embeds(kind, seed)},
            embeds(kind, seed),
        ]
        for kind in ("image", "video", "audio")
    },
}
"""Each list says one thing in several ways."""


@pytest.mark.parametrize("name", FORMS)
def test_S44_every_type_in_every_spelling(face: Face, name: str) -> None:
    first, *others = (ask(face, [text("This:"), part, text("What?")]) for part in FORMS[name](801))
    assert sum(first.media_tokens.values()) > 0
    for other in others:
        assert (other.prompt_token_ids, other.token_ids) == (
            first.prompt_token_ids,
            first.token_ids,
        )
    assert (
        first.token_ids != ask(face, [text("This:"), FORMS[name](802)[0], text("What?")]).token_ids
    ), "it was looked at"


def test_S44_text_in_every_spelling(face: Face) -> None:
    whole = ask(face, "Hello there")
    contents: list[list[Any]] = [
        [text("Hello there")],
        [{"type": "input_text", "text": "Hello there"}],
        ["Hello there"],
        [text("Hello "), {"type": "input_text", "text": "there"}],
    ]
    for content in contents:
        assert ask(face, content) == whole._replace(cached_tokens=ask(face, content).cached_tokens)


def test_S44_pictures_of_pil_are_for_python(
    llm: LLM, async_face: AsyncFace, server: Server
) -> None:
    parts: list[Part] = [
        {"type": "image_pil", "image_pil": picture(803)},
        {"image_pil": picture(803)},
    ]
    for face in (OfflineFace(llm), async_face):
        shown = ask(face, [{"image_url": url("image", 803)}])
        assert [ask(face, [part]).token_ids for part in parts] == [shown.token_ids] * 2
    for kind in ("image_pil", "image", "video", "audio"):
        refused = refusal(HttpFace(server), [{"type": kind, kind: "x"}])
        assert (refused.status, refused.part, refused.code) == (
            400,
            "messages[0].content[0].type",
            "unknown_part",
        )


@pytest.mark.parametrize(
    ("part", "where", "code"),
    [
        ({"text": "no type"}, ".type", "missing_field"),
        ({}, ".type", "missing_field"),
        ({"type": None, "text": "x"}, ".type", "missing_field"),
        ({"type": "smell", "smell": "x"}, ".type", "unknown_part"),
        ({"type": "IMAGE_URL", "image_url": "x"}, ".type", "unknown_part"),
        ({"type": 5}, ".type", "wrong_type"),
        ({"type": ["text"]}, ".type", "wrong_type"),
        (5, "", "wrong_type"),
        (["text"], "", "wrong_type"),
        ({"type": "text"}, ".text", "missing_field"),
        ({"type": "image_url"}, ".image_url", "missing_field"),
        ({"type": "image_url", "image_url": {}}, ".image_url.url", "missing_field"),
        ({"type": "image_url", "image_url": 5}, ".image_url", "wrong_type"),
        ({"type": "video_url", "video_url": {"url": ["x"]}}, ".video_url.url", "wrong_type"),
        ({"type": "image_embeds"}, ".image_embeds", "missing_field"),
    ],
)
def test_S44_what_is_no_part_is_refused_by_its_place(
    face: Face, part: Any, where: str, code: str
) -> None:
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": [text("x"), part]}]
    refused = refusal(face, messages=messages)
    assert (refused.status, refused.part, refused.code) == (
        400,
        f"messages[1].content[1]{where}",
        code,
    )


@pytest.mark.parametrize("place", ["text", "uuid", "options", "template"])
def test_S44_what_cannot_be_sent_is_refused_and_takes_nothing(
    llm: LLM, async_face: AsyncFace, place: str
) -> None:
    """Python has strings that are no Unicode, and objects of every kind."""
    odd: dict[str, tuple[list[Part], dict[str, Any]]] = {
        "text": ([text("half a \ud800 pair")], {}),
        "uuid": ([{"type": "image_url", "image_url": None, "uuid": "\ud800"}], {}),
        "options": ([text("x")], {"mm_processor_kwargs": {"max_pixels": object()}}),
        "template": ([text("x")], {"chat_template_kwargs": {"x": 1 << 70}}),
    }
    content, options = odd[place]
    for face, client in ((OfflineFace(llm), llm._client), (async_face, async_face.llm._client)):
        refused = refusal(face, content, **options)
        assert (refused.status, refused.code) == (400, "invalid_request")
        assert "cannot be sent" in refused.text
        assert client is not None
        assert client.admission.taken.requests == 0


# ids in place of data

TYPED: dict[str, Callable[[int], Part]] = {
    "image_url": lambda seed: {"image_url": {"url": url("image", seed)}},
    "input_image": lambda seed: {"image_url": url("image", seed)},
    "video_url": lambda seed: {"video_url": {"url": url("video", seed)}},
    "audio_url": lambda seed: {"audio_url": {"url": url("audio", seed)}},
    "input_audio": lambda seed: {"input_audio": heard(seed)},
    "image_embeds": lambda seed: embeds("image", seed),
    "video_embeds": lambda seed: embeds("video", seed),
    "audio_embeds": lambda seed: embeds("audio", seed),
    "image_pil": lambda seed: {"image_pil": picture(seed)},
}
SEEDS = {name: 810 + 3 * at for at, name in enumerate(TYPED)}


def field_of(kind: str) -> str:
    return "image_url" if kind == "input_image" else kind


def empties(kind: str) -> list[Part]:
    """The ways to say that there is no data."""
    field = field_of(kind)
    said: list[Part] = [{"type": kind, field: None}, {"type": kind}]
    if field.endswith("_url"):
        said.append({"type": kind, field: {"url": None}})
    if kind == "input_audio":
        said.append({"type": kind, field: {"data": None, "format": "wav"}})
    return said


@pytest.mark.parametrize("kind", TYPED)
def test_S45_an_id_stands_for_the_data_of_every_type(face: Face, llm: LLM, kind: str) -> None:
    if kind == "image_pil" and face.name == "http":
        assert refusal(face, [{"type": kind, kind: None, "uuid": "x"}]).code == "unknown_part"
        return
    uuid, part = f"{face.name} has {kind}", {"type": kind, **TYPED[kind](SEEDS[kind])}
    told = ask(face, [text("This:"), {**part, "uuid": uuid}])
    watch = Watch(llm)
    for empty in empties(kind):
        answer = ask(face, [text("This:"), {**empty, "uuid": uuid}])
        assert (answer.prompt_token_ids, answer.token_ids) == (
            told.prompt_token_ids,
            told.token_ids,
        )
    assert watch.done() == Work(0, 0, 0)


@pytest.mark.parametrize("kind", TYPED)
def test_S45_an_id_that_is_not_held_is_a_miss(face: Face, kind: str) -> None:
    if kind == "image_pil" and face.name == "http":
        return  # there is no such part
    modality = "audio" if "audio" in kind else "video" if "video" in kind else "image"
    for empty in empties(kind):
        refused = refusal(face, [text("This:"), {**empty, "uuid": "never seen"}])
        assert (refused.status, refused.code, refused.part) == (
            400,
            "cache_miss",
            "messages[0].content[1]",
        )
        assert refused.text.endswith(
            f"Cache miss for {modality} at index 0 but data is not provided."
        )


@pytest.mark.parametrize("kind", TYPED)
def test_S45_neither_data_nor_id(face: Face, kind: str) -> None:
    for empty in empties(kind):
        refused = refusal(face, [text("This:"), empty])
        assert refused.status == 400
        assert (refused.part or "").startswith("messages[0].content[1]")


ODD_IDS = [
    "x" * 128,
    "日本" * 64,
    " with spaces\n\t",
    "<|im_end|><|IMAGE|>",
    "../../etc/passwd",
    "\0",
    "null",
]


@pytest.mark.parametrize("uuid", ODD_IDS)
def test_S45_any_string_up_to_128_characters_is_an_id(face: Face, uuid: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url("image", 840)}}
    answer = ask(face, [{**part, "uuid": uuid}])
    assert (
        ask(face, [{"type": "image_url", "image_url": None, "uuid": uuid}]).token_ids
        == answer.token_ids
    )


@pytest.mark.parametrize(
    ("uuid", "code"),
    [("x" * 129, "invalid_uuid"), ("", "invalid_uuid"), (5, "wrong_type"), ({}, "wrong_type")],
)
def test_S45_what_is_no_id(face: Face, uuid: Any, code: str) -> None:
    refused = refusal(
        face,
        [text("x"), {"type": "image_url", "image_url": {"url": url("image", 840)}, "uuid": uuid}],
    )
    assert (refused.status, refused.part, refused.code) == (
        400,
        "messages[0].content[1].uuid",
        code,
    )


# sounds and clips


@pytest.mark.parametrize("told", ["wav", "mp3", "flac", "no such format", None])
def test_S47_a_sound_in_the_message(face: Face, told: str | None) -> None:
    """By its content, whatever it is said to be."""
    given = {**heard(851), "format": told} if told is not None else {"data": heard(851)["data"]}
    answer = ask(face, [{"type": "input_audio", "input_audio": given}, text("What?")])
    same = ask(
        face, [{"type": "audio_url", "audio_url": {"url": url("audio", 851)}}, text("What?")]
    )
    assert answer.media_tokens["audio"] > 0
    assert answer.token_ids == same.token_ids


@pytest.mark.parametrize(
    ("given", "where", "code"),
    [
        ("a string", ".input_audio", "wrong_type"),
        ({}, ".input_audio.data", "missing_field"),
        ({"format": "wav"}, ".input_audio.data", "missing_field"),
        ({"data": 5}, ".input_audio.data", "wrong_type"),
        ({"data": "no base64!", "format": "wav"}, "", "invalid_base64"),
        ({"data": "", "format": "wav"}, "", "empty_media"),
    ],
)
def test_S47_what_is_no_sound_in_a_message(face: Face, given: Any, where: str, code: str) -> None:
    refused = refusal(face, [text("x"), {"type": "input_audio", "input_audio": given}])
    assert (refused.status, refused.part, refused.code) == (
        400,
        f"messages[0].content[1]{where}",
        code,
    )


@pytest.mark.parametrize("kind", ["audio_url", "video_url"])
def test_S47_sounds_and_clips_by_url(face: Face, kind: str) -> None:
    modality = kind.removesuffix("_url")
    answer = ask(face, [{"type": kind, kind: {"url": url(modality, 852)}}, text("What?")])
    assert answer.media_tokens[modality] > 0
    for wrong, where, code in (
        ({}, f".{kind}.url", "missing_field"),
        ({"url": 5}, f".{kind}.url", "wrong_type"),
        ({"url": "gopher://x"}, "", "invalid_url"),
        ({"url": "data:audio/wav,plain"}, "", "invalid_url"),
    ):
        refused = refusal(face, [{"type": kind, kind: wrong}])
        assert (refused.status, refused.part, refused.code) == (
            400,
            f"messages[0].content[0]{where}",
            code,
        )


# whole conversations


def test_S48_media_and_embeddings_in_several_messages(face: Face) -> None:
    def conversation(*seeds: int) -> list[dict[str, Any]]:
        first, second, third = seeds
        return [
            {"role": "user", "content": [{"image_url": url("image", first)}, text("One?")]},
            {"role": "assistant", "content": "One."},
            {
                "role": "user",
                "content": [
                    text("Two?"),
                    embeds("image", second),
                    {"audio_url": url("audio", 860)},
                ],
            },
            {"role": "assistant", "content": [text("Two.")]},
            {
                "role": "user",
                "content": [
                    {"video_url": url("video", third)},
                    embeds("audio", 861),
                    text("Three?"),
                ],
            },
        ]

    answer = ask(face, messages=conversation(1, 2, 3))
    assert answer.media_tokens.keys() == {"image", "audio", "video"}
    assert answer.media_tokens["image"] == 8
    others = [
        ask(face, messages=conversation(*seeds)).token_ids
        for seeds in ((9, 2, 3), (1, 9, 3), (1, 2, 9))
    ]
    assert answer.token_ids not in others, "each of them is looked at"


def test_S48_the_limit_counts_the_whole_conversation(face: Face) -> None:
    """Six pictures, embeddings among them; two clips."""
    shown: list[Part] = [{"image_url": url("image", 870)}, embeds("image", 871)]

    def asked(*counts: int) -> list[dict[str, Any]]:
        turns = [
            {"role": "user", "content": [text("And?"), *(shown * count)[:count]]}
            for count in counts
        ]
        return [
            message
            for turn in turns
            for message in (turn, {"role": "assistant", "content": "Yes."})
        ][:-1]

    assert ask(face, messages=asked(1, 2, 3), max_tokens=1).media_tokens == {"image": 24}
    refused = refusal(face, messages=asked(2, 3, 2))
    assert (refused.status, refused.part) == (400, "messages[4].content[2]")
    assert "At most 6 image(s) may be provided in one prompt." in refused.text
    clips = [
        {"role": "user", "content": [{"video_url": url("video", seed)}]} for seed in (872, 873, 874)
    ]
    assert "At most 2 video(s) may be provided in one prompt." in refusal(face, messages=clips).text
    assert ask(face, messages=clips[:2], max_tokens=1).media_tokens["video"] > 0
