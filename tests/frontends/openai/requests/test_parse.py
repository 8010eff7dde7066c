"""Bodies in, prompts and refusals out: tables."""

import base64
import json
import typing
from typing import Any

import pytest

from thespis.frontends.inputs.media import Pending
from thespis.frontends.inputs.unread import Unread
from thespis.frontends.openai.requests.anthropic import MessagesRequest
from thespis.frontends.openai.requests.chat import parse_chat
from thespis.frontends.openai.requests.completions import parse_completion
from thespis.frontends.openai.requests.ollama import OllamaGenerate
from thespis.frontends.openai.requests.schema import (
    MATTERS,
    NOT_YET,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    decode,
    note_unknown,
)
from thespis.frontends.openai.requests.scoring import RerankRequest
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.requests.request import ChatPrompt, Slot, Text, TextPrompt, TokenPrompt, Url

PICTURE = b"\x89PNG picture"
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
SOUND = base64.b64encode(b"RIFF").decode()


def chat(**body: Any) -> Any:
    return parse_chat(
        decode(
            ChatRequest,
            json.dumps({"messages": [{"role": "user", "content": "hi"}], **body}).encode(),
        )
    )


def parts(*content: Any) -> Any:
    return chat(messages=[{"role": "user", "content": list(content)}])


def refused(call: Any, *args: Any, **kwargs: Any) -> Failure:
    with pytest.raises(RequestError) as raised:
        call(*args, **kwargs)
    return raised.value.failure


@pytest.mark.parametrize(
    ("part", "modality", "content"),
    [
        ({"type": "image_url", "image_url": {"url": DATA_URL, "detail": "high"}}, "image", PICTURE),
        ({"type": "image_url", "image_url": DATA_URL}, "image", PICTURE),
        ({"image_url": "https://host/a.png"}, "image", Url("https://host/a.png")),
        (
            {"type": "input_image", "image_url": "https://host/a.png"},
            "image",
            Url("https://host/a.png"),
        ),
        (
            {"type": "video_url", "video_url": {"url": "file:///a.mp4"}},
            "video",
            Url("file:///a.mp4"),
        ),
        (
            {"type": "audio_url", "audio_url": {"url": "HTTP://host/a"}},
            "audio",
            Url("HTTP://host/a"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
            "audio",
            b"RIFF",
        ),
        ({"input_audio": {"data": SOUND}}, "audio", b"RIFF"),
    ],
)
def test_S44_every_kind_of_media_part(part: dict[str, Any], modality: str, content: object) -> None:
    job = parts({"type": "text", "text": "look"}, part, {"type": "input_text", "text": "!"})
    assert job.media == (Pending(modality, content, "messages[0].content[1]"),)  # type: ignore[arg-type]
    assert job.prompt.messages[0].content == (Text("look"), Slot(0), Text("!"))


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": None, "uuid": "u1"}, "image"),
        ({"type": "video_url", "uuid": "u1"}, "video"),
        ({"type": "audio_url", "audio_url": {"url": None}, "uuid": "u1"}, "audio"),
        ({"type": "input_audio", "input_audio": None, "uuid": "u1"}, "audio"),
    ],
)
def test_S45_a_uuid_stands_for_the_data(part: dict[str, Any], kind: str) -> None:
    assert parts(part).media == (Pending(kind, None, "messages[0].content[0]", "u1"),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "field", "code"),
    [
        (7, "", "wrong_type"),
        ({"text": "x"}, ".type", "missing_field"),
        ({"type": "image_pil", "image_pil": 1}, ".type", "unknown_part"),
        ({"type": 5}, ".type", "wrong_type"),
        ({"type": "text"}, ".text", "missing_field"),
        ({"type": "text", "text": 5}, ".text", "wrong_type"),
        ({"type": "image_url"}, ".image_url", "missing_field"),
        ({"type": "image_url", "image_url": {"url": 5}}, ".image_url.url", "wrong_type"),
        ({"type": "image_url", "image_url": "ftp://x"}, "", "invalid_url"),
        ({"type": "image_url", "image_url": "picture.png"}, "", "invalid_url"),
        ({"type": "image_url", "image_url": "data:image/png,abc"}, "", "invalid_url"),
        ({"type": "image_url", "image_url": "data:image/png;base64,"}, "", "empty_media"),
        ({"type": "image_url", "image_url": "data:image/png;base64,ab!d"}, "", "invalid_base64"),
        ({"type": "image_url", "image_url": "data:image/png;base64,Y"}, "", "invalid_base64"),
        (
            {"type": "image_url", "image_url": "data:image/png;base64,YQ==YQ=="},
            "",
            "invalid_base64",
        ),
        ({"type": "image_url", "image_url": "data:image/png;base64,é"}, "", "invalid_base64"),
        (
            {"type": "video_url", "video_url": "data:video/jpeg;base64,YQ==,@@"},
            "",
            "invalid_base64",
        ),
        ({"type": "input_audio", "input_audio": "YQ=="}, ".input_audio", "wrong_type"),
        (
            {"type": "input_audio", "input_audio": {"format": "wav"}},
            ".input_audio.data",
            "missing_field",
        ),
        ({"type": "image_url", "image_url": DATA_URL, "uuid": "u" * 129}, ".uuid", "invalid_uuid"),
        ({"type": "image_url", "image_url": DATA_URL, "uuid": 4}, ".uuid", "wrong_type"),
        ({"type": "image_embeds", "image_embeds": "x"}, "", "embeds_disabled"),
    ],
)
def test_S44_a_bad_part_is_refused_by_its_name(part: Any, field: str, code: str) -> None:
    failure = refused(parts, {"type": "text", "text": "before"}, part)
    assert (failure.part, failure.code) == (f"messages[0].content[1]{field}", code)


def test_S36_embeds_are_refused_by_the_flags_name() -> None:
    failure = refused(parts, {"type": "image_embeds", "image_embeds": "x"})
    assert failure.text == "You must set --enable-mm-embeds to input image_embeds"


@pytest.mark.parametrize(
    ("body", "part", "code"),
    [
        (b"{", None, "invalid_json"),
        (b"[]", None, "wrong_type"),
        (b"{}", "messages", "missing_field"),
        (b'{"messages":[]}', "messages", "empty_messages"),
        (b'{"messages":[{"content":"x"}]}', "messages[0].role", "missing_field"),
        (b'{"messages":[{"role":"user"}]}', "messages[0].content", "missing_field"),
        (b'{"messages":[{"role":"user","content":5}]}', "messages[0].content", "wrong_type"),
        (
            b'{"messages":[{"role":"user","content":"x"}],"max_tokens":"ten"}',
            "max_tokens",
            "wrong_type",
        ),
        (b'{"messages":[{"role":"user","content":"x"}],"stop":[1]}', "stop[0]", "wrong_type"),
        (
            b'{"messages":[{"role":"user","content":"x"}],"max_tokens":0}',
            "max_tokens",
            "out_of_range",
        ),
        (b'{"messages":[{"role":"user","content":"x"}],"n":99999}', "n", "out_of_range"),
        (
            b'{"messages":[{"role":"user","content":"x"}],"seed":99999999999999999999999}',
            "seed",
            "out_of_range",
        ),
        (
            b'{"messages":[{"role":"user","content":"x"}],"logit_bias":{"a":1}}',
            "logit_bias",
            "wrong_type",
        ),
        (
            b'{"messages":[{"role":"user","content":"x"}],"logit_bias":{"1":101}}',
            "logit_bias",
            "out_of_range",
        ),
        (
            b'{"messages":[{"role":"user","content":"x"}],"top_logprobs":1}',
            "top_logprobs",
            "invalid_request",
        ),
        (
            b'{"messages":[{"role":"user","content":"x"}],"mm_processor_kwargs":{"a":99999999999999999999999}}',
            "mm_processor_kwargs",
            "out_of_range",
        ),
    ],
)
def test_a_wrong_field_is_named(body: bytes, part: str | None, code: str) -> None:
    failure = refused(lambda: parse_chat(decode(ChatRequest, body)))
    assert (failure.part, failure.code or failure.kind) == (part, code)


SCHEMAS = (
    *(ChatRequest, CompletionRequest, EmbeddingRequest, MessagesRequest, OllamaGenerate),
    RerankRequest,
)


@pytest.mark.parametrize("field", sorted(NOT_YET))
def test_what_would_change_the_answer_is_refused_and_never_ignored(field: str) -> None:
    schema = next(one for one in SCHEMAS if field in one.__struct_fields__)
    values: dict[str, Any] = {
        "best_of": 2,
        "truncate_prompt_tokens": 4,
        "use_beam_search": True,
        "normalize": False,
        "max_chunks_per_doc": 2,
    }
    values |= dict.fromkeys(("suffix", "embed_dtype", "endianness", "template"), "s")
    values["context"] = [1]
    body = {"prompt": "x", "messages": [], "max_tokens": 1, field: values.get(field, ["x"])}
    failure = refused(decode, schema, json.dumps(body).encode())
    assert (failure.kind, failure.part) == ("unsupported", field)


def test_fields_that_change_nothing_are_taken() -> None:
    job = chat(
        response_format={"type": "text"},
        tools=[],
        tool_choice="auto",
        best_of=1,
        user="me",
        modalities=["text"],
    )
    assert job.sampling.n == 1


def test_S51_sampling_fields_arrive() -> None:
    given = {
        "n": 2, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "seed": 7,
        "min_tokens": 1,
        "presence_penalty": 0.1, "frequency_penalty": 0.2, "repetition_penalty": 1.1,
        "ignore_eos": True,
        "include_stop_str_in_output": True, "skip_special_tokens": False, "prompt_logprobs": 1,
    }  # fmt: skip
    lists = {
        "stop": "end",
        "stop_token_ids": [3],
        "allowed_token_ids": [1, 2],
        "logit_bias": {"4": -1},
    }
    job = chat(**given, **lists, max_completion_tokens=9, logprobs=True, top_logprobs=3)
    for name, value in given.items():
        assert getattr(job.sampling, name) == value
    assert job.sampling.stop == ("end",)
    assert job.sampling.stop_token_ids == (3,)
    assert job.sampling.allowed_token_ids == (1, 2)
    assert job.sampling.logit_bias == {4: -1.0}
    assert (job.sampling.max_tokens, job.sampling.logprobs) == (9, 3)


def test_chat_without_a_limit_may_fill_the_context_and_a_completion_has_16() -> None:
    assert chat().sampling.max_tokens is None
    assert parse_completion(CompletionRequest(prompt="x"))[0].sampling.max_tokens == 16


def test_history_keeps_roles_and_tool_calls_for_the_template() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    prompt = chat(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": "hi", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
            {"role": "tool", "content": "4", "tool_call_id": "c1"},
        ]
    ).prompt
    assert isinstance(prompt, ChatPrompt)
    assert [m.role for m in prompt.messages] == ["system", "user", "assistant", "tool"]
    assert prompt.messages[1].extra == {"name": "ann"}
    assert prompt.messages[2].extra["tool_calls"][0]["function"] == {
        "name": "f",
        "arguments": {"x": 1},
    }
    assert prompt.messages[3].extra == {"tool_call_id": "c1"}


def test_broken_arguments_of_a_call_in_the_history_are_named() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    failure = refused(chat, messages=[{"role": "assistant", "tool_calls": [call]}])
    assert failure.part == "messages[0].tool_calls[0].function.arguments"


def test_media_are_numbered_over_all_messages() -> None:
    message = {"role": "user", "content": [{"image_url": DATA_URL}]}
    job = chat(messages=[message, {"role": "assistant", "content": "a"}, message])
    assert [pending.where for pending in job.media] == [
        "messages[0].content[0]",
        "messages[2].content[0]",
    ]
    assert [m.content[0] for m in job.prompt.messages[::2]] == [Slot(0), Slot(1)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", [TextPrompt("a")]),
        (["a", "b"], [TextPrompt("a"), TextPrompt("b")]),
        ([1, 2], [TokenPrompt((1, 2))]),
        ([[1], [2, 3]], [TokenPrompt((1,)), TokenPrompt((2, 3))]),
    ],
)
def test_a_completion_takes_texts_and_token_ids(prompt: Any, expected: list[object]) -> None:
    request = decode(CompletionRequest, json.dumps({"prompt": prompt}).encode())
    assert [job.prompt for job in parse_completion(request)] == expected


@pytest.mark.parametrize(
    ("prompt", "part", "code"),
    [
        ([], "prompt", "empty_prompt"),
        ([[1], []], "prompt[1]", "empty_prompt"),
        (["a", 1], "prompt", "wrong_type"),
        ([[1], "a"], "prompt", "wrong_type"),
        ([-1], "prompt", "out_of_range"),
        ([[1], [2, -1]], "prompt[1][1]", "out_of_range"),
        ([[1 << 31]], "prompt[0][0]", "out_of_range"),
    ],
)
def test_a_completion_without_a_proper_prompt_is_refused(prompt: Any, part: str, code: str) -> None:
    failure = refused(
        lambda: parse_completion(decode(CompletionRequest, json.dumps({"prompt": prompt}).encode()))
    )
    assert (failure.part, failure.code) == (part, code)


def test_what_a_number_may_be_is_told() -> None:
    for body, text in (
        (b'{"prompt": [[-1]]}', "Expected int >= 0."),
        (b'{"prompt": [[2147483648]]}', "Expected int <= 2147483647."),
        (b'{"prompt": "a", "temperature": 1e999}', "The number is out of range."),
    ):
        failure = refused(lambda body=body: decode(CompletionRequest, body))
        assert (failure.text, failure.code) == (text, "out_of_range")


@pytest.mark.parametrize(
    ("prompt", "part"), [([1, 1 << 64], "prompt"), ([[1], [1 << 64]], "prompt[1]")]
)
def test_an_id_that_no_message_can_carry_is_refused_at_the_prompt(prompt: Any, part: str) -> None:
    failure = refused(lambda: parse_completion(CompletionRequest(prompt=prompt)))
    assert (failure.part, failure.code) == (part, "out_of_range")


def ignored_fields(more: dict[str, Any]) -> list[str]:
    unread = Unread()
    note_unknown(ChatRequest, json.dumps({"messages": [], **more}).encode(), unread)
    return unread.told


def test_S49_unknown_fields_are_found_by_name() -> None:
    assert ignored_fields({"service_tier": "x", "a b": 1, "stream_options": {"x": 1}}) == [
        "service_tier",
        "a%20b",
        "stream_options.x",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "max_new_tokens",
        "min_length",
        "stop_words",
        "max_tool_calls",
        "timeout",
        "guided_whitespace_pattern",
        "cache_salt",
    ],
)
def test_S49_unknown_fields_that_bound_cost_or_content_are_refused(name: str) -> None:
    failure = refused(lambda: ignored_fields({name: 1}))
    assert (failure.part, failure.code) == (name, "unknown_field")
    assert ignored_fields({name: None}) == [name]


def test_S49_no_field_of_the_official_client_is_refused_for_its_name() -> None:
    from openai.types import completion_create_params as completions
    from openai.types.chat import completion_create_params as chats

    for given, schema in (
        (chats.CompletionCreateParamsNonStreaming, ChatRequest),
        (completions.CompletionCreateParamsNonStreaming, CompletionRequest),
    ):
        names = typing.get_type_hints(given)
        assert {
            name
            for name in names
            if name not in schema.__struct_fields__ and MATTERS.fullmatch(name)
        } <= {"moderation"}


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": False, "top_logprobs": 0},
        {"logprobs": None, "top_logprobs": 0},
        {"top_logprobs": 0},
    ],
)
def test_no_alternatives_of_no_log_probabilities_are_what_a_client_sends_that_sends_every_field(
    more: dict[str, Any],
) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], **more}
    assert parse_chat(decode(ChatRequest, json.dumps(body).encode())).sampling.logprobs is None


HALF = ": it has one half of a surrogate pair, `\\ud800` to `\\udbff`, without the other."


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"messages":[],}', " near line 1, column 16 (byte 15)."),
        (b'{\n "a": tru}', " near line 2, column 8 (byte 9)."),
        (b'{"messages": []} x', " near line 1, column 19 (byte 18)."),
        (b'{"messages": [', ": it ends in the middle of a value."),
        (b'{"prompt":"\\ud83d', ": it ends in the middle of a value."),
        (b'{"prompt":"\\ud83d"}', HALF),
        (b'{"prompt":"\\uDBFFab"}', HALF),
        (b" ", ": it is empty."),
        (b"", ": it is empty."),
    ],
)
def test_json_that_is_none_is_refused_with_its_place(body: bytes, place: str) -> None:
    failure = refused(decode, ChatRequest, body)
    assert (failure.text, failure.code) == (f"The body is not valid JSON{place}", "invalid_json")


@pytest.mark.parametrize("stream", [{}, {"stream": False}])
def test_stream_options_without_a_stream_are_refused_as_by_others(stream: dict[str, Any]) -> None:
    failure = refused(chat, stream_options={"include_usage": True}, **stream)
    assert (failure.part, failure.code) == ("stream_options", "contradicting_fields")
    chat(stream_options=None, **stream)


def test_a_value_out_of_range_is_named_once() -> None:
    with pytest.raises(RequestError) as raised:
        chat(temperature=101)
    assert str(raised.value).startswith("temperature must be between")
    assert raised.value.failure.part == "temperature"


@pytest.mark.parametrize(
    ("bias", "code"),
    [
        ({"a": 1}, "wrong_type"),
        ({"-1": 1}, "wrong_type"),
        ({"9" * 30: 1}, "wrong_type"),
        ({"1": "x"}, "wrong_type"),
        ({"1": 101}, "out_of_range"),
    ],
)
def test_biases_are_numbers_of_tokens_within_bounds(bias: dict[str, Any], code: str) -> None:
    failure = refused(chat, logit_bias=bias)
    assert (str(failure.part).partition(".")[0].partition("[")[0], failure.code) == (
        "logit_bias",
        code,
    )
