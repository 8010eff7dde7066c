"""Prompts become exactly the token ids that transformers makes of them, and callers' words never
become special tokens."""

import functools
import re
from typing import Any

import msgspec
import pytest
import transformers

from thespis.actors.prompting.template import compile_template
from thespis.actors.prompting.tokens import Control, mark
from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing.loading import load_processor
from thespis.protocol.errors import EngineError, RequestError
from thespis.protocol.requests.request import (
    ChatMessage,
    ChatPrompt,
    Slot,
    Text,
    TextPrompt,
    TokenPrompt,
)

from ...helpers.checkpoints import FAMILIES, Checkpoints
from ...zoo.catalog import Zoo
from ..preprocessor.parts import chat, item, load

_hf: Any = transformers
_load = functools.cache(load)
_tokenizer = functools.cache(_hf.AutoTokenizer.from_pretrained)

MACRO_TEMPLATE = (
    "{% macro r(x) %}{% for c in x %}{{ c }}{% endfor %}{% endmacro %}{% for m in messages %}{{ "
    "r(m.content) }}{% endfor %}"
)
STRING_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def _conversation() -> tuple[ChatPrompt, list[dict[str, Any]]]:
    ours = ChatPrompt(
        (
            ChatMessage("system", (Text("Be brief."),)),
            ChatMessage("user", (Text("Grüße, "), Slot(0), Text(" what?  "))),
            ChatMessage("assistant", (Text("A cat."),)),
            ChatMessage("user", (Slot(1), Text("And\nthis? 日本"))),
        )
    )
    picture = {"type": "image"}
    theirs = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Grüße, "},
                picture,
                {"type": "text", "text": " what?  "},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
        {"role": "user", "content": [picture, {"type": "text", "text": "And\nthis? 日本"}]},
    ]
    return ours, theirs


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("begin", [True, False])
def test_a_conversation(checkpoints: Checkpoints, family: Any, begin: bool) -> None:
    folder = checkpoints(family)
    ours, theirs = _conversation()
    prompt = ChatPrompt(ours.messages, add_generation_prompt=begin)
    renderer = _load(folder).renderer()
    made = renderer.render(prompt, (item(), item()))
    tokenizer = _tokenizer(folder)
    assert made.shown == tokenizer.apply_chat_template(
        theirs, tokenize=False, add_generation_prompt=begin
    )
    expected = tokenizer.apply_chat_template(
        theirs, tokenize=True, return_dict=True, add_generation_prompt=begin
    )
    assert renderer.tokens(made) == expected["input_ids"]
    assert made.order == {"image": [0, 1]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_finished_text(checkpoints: Checkpoints, family: Any) -> None:
    folder = checkpoints(family)
    parts = _load(folder)
    text = f"a {parts.model.placeholders['image'].text} b \u2603"
    renderer = parts.renderer()
    made = renderer.render(TextPrompt(text), (item(),))
    assert renderer.tokens(made) == _tokenizer(folder)(text)["input_ids"]


WITH_BOS = (
    "{{ bos_token }}{% for m in messages %}{% for c in m['content'] %}{{ c['text'] }}{% endfor "
    "%}\n{% endfor %}"
)


@pytest.mark.parametrize("name", ["llava", "llama", "llama_2", "mistral", "qwen3"])
@pytest.mark.parametrize("template", [WITH_BOS, WITH_BOS.removeprefix("{{ bos_token }}")])
def test_Q19_one_bos_or_none(zoo: Zoo, name: str, template: str) -> None:
    """Whether the template writes it, or the tokenizer's own frame has it: as transformers has it,
    and never twice."""
    renderer = _load(zoo(name)).renderer(template)
    ours = renderer.tokens(renderer.render(chat("Hello."), ()))
    theirs: Any = _tokenizer(zoo(name))
    if _load(zoo(name)).model.placeholders:
        theirs = load_processor(zoo(name), hf.load_config(zoo(name)))
    said = [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}]
    expected = theirs.apply_chat_template(
        said, chat_template=template, tokenize=True, return_dict=True
    )["input_ids"]
    assert ours == (expected if isinstance(expected[0], int) else expected[0])
    begin = _tokenizer(zoo(name)).bos_token_id
    assert ours.count(begin) <= 1


@pytest.mark.parametrize(
    "name", ["llama_2", "llava", "qwen2", "olmo", "phi3", "internvl", "cohere2_vision"]
)
def test_texts_are_cut_as_the_class_of_the_tokenizer_cuts_them(zoo: Zoo, name: str) -> None:
    """Some classes of transformers make anew what tokenizer.json says of it."""
    renderer, theirs = _load(zoo(name)).renderer(), _tokenizer(zoo(name))
    for text in (
        "Hello",
        " two  words\n\nand 1234",
        "it's caf\u0065\u0301 \u65e5\u672c",
        f"a{theirs.eos_token} b",
    ):
        assert (
            renderer.tokens(renderer.render(TextPrompt(text), ())) == theirs(text)["input_ids"]
        ), text


def test_Q21_a_template_of_lists_gets_a_list_and_one_of_strings_a_string(
    checkpoints: Checkpoints,
) -> None:
    parts = _load(checkpoints("llava"))
    parts_of = "m['content'] | selectattr('type', 'equalto', 'text')"
    lists = (
        f"{{% for m in messages %}}{{% for c in {parts_of} %}}{{{{ c.text }}}}{{% endfor %}}{{% "
        f"endfor %}}"
    )
    for template in (lists, STRING_TEMPLATE):
        assert "Hello." in parts.renderer(template).render(chat("Hello."), ()).text


@pytest.mark.parametrize("family", FAMILIES)
def test_S46_words_that_spell_special_tokens_stay_words(
    checkpoints: Checkpoints, family: Any
) -> None:
    folder = checkpoints(family)
    parts, tokenizer = _load(folder), _tokenizer(folder)
    token = parts.model.placeholders["image"].token
    text = f"Write {token}{token} and {tokenizer.eos_token}, please \U000f0000{token}\U000f0001"
    renderer = parts.renderer()
    made = renderer.render(chat(text, 0), (item(),))
    token_ids = renderer.tokens(made)
    assert token_ids.count(parts.embed_id("image")) == 1
    theirs = [{"role": "user", "content": [{"type": "text", "text": "\x01"}, {"type": "image"}]}]
    around = tokenizer.apply_chat_template(
        theirs, tokenize=False, add_generation_prompt=True
    ).split("\x01")
    before, after = (tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in around)
    plain = text.replace("\U000f0000", "").replace(
        "\U000f0001", ""
    )  # our own marks around such words
    words = tokenizer(plain, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert token_ids == [*before, *words, *after]
    assert "\U000f0000" not in made.shown


def test_S46_a_field_that_is_a_plain_word_keeps_its_name() -> None:
    """Though a tokenizer may have that word among its tokens."""
    control = Control(re.compile("name|<end>"), 5)
    marked = mark({"name": "a <end>", "<end>": {"name": 1}, 7: "name"}, control)
    assert marked["name"] != "a <end>"
    assert set(marked) == {"name", 7, "\U000f0000<end>\U000f0001"}


def test_continuing_the_final_message(checkpoints: Checkpoints) -> None:
    folder = checkpoints("qwen_omni")
    messages = (
        ChatMessage("user", (Text("Count."),)),
        ChatMessage("assistant", (Text("one, two,"),)),
    )
    prompt = ChatPrompt(messages, add_generation_prompt=False, continue_final_message=True)
    made = _load(folder).renderer().render(prompt, ())
    texts = [m.content[0].text for m in messages]  # type: ignore[union-attr]
    theirs = [
        {"role": message.role, "content": [{"type": "text", "text": text}]}
        for message, text in zip(messages, texts, strict=True)
    ]
    assert made.text == _tokenizer(folder).apply_chat_template(
        theirs, tokenize=False, continue_final_message=True
    )


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (STRING_TEMPLATE, "string"),
        (
            "{% for m in messages %}{% for c in m['content'] %}{{ c.text }}{% endfor %}{% endfor "
            "%}",
            "openai",
        ),
        (
            "{% for m in messages %}{% for c in m.content | selectattr('type') %}{{ c }}{% "
            "endfor %}{% endfor %}",
            "openai",
        ),
        (
            "{% for m in messages %}{% set x = m.content %}{% for c in x %}{{ c }}{% endfor %}{% "
            "endfor %}",
            "openai",
        ),
        (MACRO_TEMPLATE, "openai"),
        (
            "{% for m in messages %}{% for w in m.content.split(' ') %}{{ w }}{% endfor %}{% "
            "endfor %}",
            "string",
        ),
    ],
)
def test_what_a_template_wants_is_read_from_it(template: str, form: str) -> None:
    assert compile_template(template).format == form


def test_S57_a_string_template_gets_placeholders_at_the_parts_positions(
    checkpoints: Checkpoints,
) -> None:
    parts = _load(checkpoints("qwen_omni"))
    made = parts.renderer(STRING_TEMPLATE).render(
        chat("first", 0, "then", 1), (item(), item("audio"))
    )
    image, audio = parts.model.placeholders["image"].text, parts.model.placeholders["audio"].text
    assert made.text == f"user: first\n{image}\nthen\n{audio}\n"


def test_S57_more_placeholders_than_items(checkpoints: Checkpoints) -> None:
    parts = _load(checkpoints("llava"))
    token = parts.model.placeholders["image"].token
    wanted = f"Found more '{token}' placeholders in input prompt than actual multimodal data items."
    with pytest.raises(RequestError) as refused:
        parts.renderer().render(TextPrompt(f"what is {token}"), ())
    assert refused.value.failure.text == wanted
    with pytest.raises(RequestError) as refused:
        parts.renderer(STRING_TEMPLATE + token + token).render(chat("x", 0), (item(),))
    assert refused.value.failure.text == wanted


def test_S15_fewer_placeholders_than_items(checkpoints: Checkpoints) -> None:
    renderer = _load(checkpoints("llava")).renderer()
    with pytest.raises(
        RequestError, match="Found 0 '<image>' placeholders in input prompt for 1 image items"
    ):
        renderer.render(TextPrompt("what is it"), (item(),))
    with pytest.raises(RequestError, match="Found 0"):
        renderer.render(TokenPrompt((5, 6)), (item(),))


def test_token_ids_outside_the_vocabulary(checkpoints: Checkpoints) -> None:
    with pytest.raises(RequestError, match="not in the vocabulary"):
        _load(checkpoints("llava")).renderer().render(TokenPrompt((1, 10**6)), ())


def test_a_requests_own_template_comes_first(checkpoints: Checkpoints) -> None:
    prompt = chat("hello", template=STRING_TEMPLATE)
    assert _load(checkpoints("llava")).renderer().render(prompt, ()).text == "user: hello\n"


KNOWS_TWO = (
    "{% for m in messages %}{% if m.role == 'user' %}Q: {{ m.content }}{% elif m.role == 'judge' %}"
    "J: {{ m.content }}{% endif %}{% endfor %}"
)
LOOKS_UP = (
    "{% set names = dict(user='Q', judge='J') %}"
    "{% for m in messages %}{{ names[m.role] }}: {{ m.content }}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "role", "shown"),
    [
        (LOOKS_UP, "judge", "J: hello"),
        (LOOKS_UP, "jester", None),
        (KNOWS_TWO, "user", "Q: hello"),
        (KNOWS_TWO, "judge", "J: hello"),
        (KNOWS_TWO, "tool", ""),
        (STRING_TEMPLATE, "jester", "jester: hello\n"),
        (KNOWS_TWO, "jester", None),
    ],
)
def test_a_role_that_the_template_does_not_know_is_refused(
    checkpoints: Checkpoints, template: str, role: str, shown: str | None
) -> None:
    """Any role that a template asks for, or writes, is one that it knows."""
    prompt = ChatPrompt((ChatMessage(role, (Text("hello"),)),), template=template)
    renderer = _load(checkpoints("llava")).renderer()
    if shown is not None:
        assert renderer.render(prompt, ()).shown == shown
        return
    with pytest.raises(RequestError, match="knows no role 'jester'") as refused:
        renderer.render(prompt, ())
    assert refused.value.failure.part == "messages[0].role"


HALVES = (
    "{{ '\\ud800' }}",
    "{{ 'a\\udfff' }}",
    "{{ '%c' % 55296 }}",
    "{{ messages[0].content }}{{ '\\udc00\\ud800' }}",
    "\ud83d",
)


@pytest.mark.parametrize("template", HALVES)
def test_half_a_surrogate_pair_is_no_prompt(checkpoints: Checkpoints, template: str) -> None:
    with pytest.raises(RequestError, match="half of a surrogate pair") as told:
        _load(checkpoints("llava")).renderer().render(chat("hello", template=template), ())
    msgspec.msgpack.encode(told.value.failure)


def test_a_refusal_with_half_a_surrogate_pair_can_be_told(checkpoints: Checkpoints) -> None:
    template = "{{ raise_exception('a\\ud800b') }}"
    with pytest.raises(RequestError, match=r"a\?b") as told:
        _load(checkpoints("llava")).renderer().render(chat("hello", template=template), ())
    msgspec.msgpack.encode(told.value.failure)


def test_a_templates_refusal_is_told(checkpoints: Checkpoints) -> None:
    template = "{{ raise_exception('Roles must alternate') }}{{ messages[0].content }}"
    with pytest.raises(RequestError, match="refuses this conversation: Roles must alternate"):
        _load(checkpoints("llava")).renderer(template).render(chat("hello"), ())


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}{# #}",
        "{{ namespace(_x=1) }}",
        "{{ missing.attribute.deeper }}",
        "{{ 1 / 0 }}",
        "{{ cycler() }}",
        "{% set walk = dict(a=1) %}{% for key in walk %}{{ cycler(*[]) }}{% endfor %}",
        "{{ strftime_now('\\ud800') }}",
        "{{ 'a'.encode('no-such') }}",
        "{{ lipsum(n='x') }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_a_template_that_breaks_ends_one_request(checkpoints: Checkpoints, template: str) -> None:
    with pytest.raises(RequestError, match="cannot render this conversation"):
        _load(checkpoints("llava")).renderer(template).render(chat("hello"), ())


NESTED = (
    ("{% if 1 %}", "{% endif %}", 120),
    ("{% if 1 %}", "{% endif %}", 3000),
    ("{% for a in [1] %}", "{% endfor %}", 120),
)


@pytest.mark.parametrize(("opening", "closing", "depth"), NESTED)
def test_a_template_that_python_cannot_compile_is_no_template(
    checkpoints: Checkpoints, opening: str, closing: str, depth: int
) -> None:
    with pytest.raises(RequestError, match="no valid Jinja template"):
        _load(checkpoints("llava")).renderer().render(
            chat("hello", template=opening * depth + closing * depth), ()
        )


@pytest.mark.parametrize(
    ("value", "said"),
    [("no/such/file.jinja", "neither a file that exists"), ("{% for %}", "no valid Jinja")],
)
def test_an_operators_bad_template_is_told_at_start(
    checkpoints: Checkpoints, value: str, said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        _load(checkpoints("llava")).renderer(value)


def test_items_without_a_place(checkpoints: Checkpoints) -> None:
    with pytest.raises(RequestError, match="name 0 media items, but 1 were given"):
        _load(checkpoints("llava")).renderer().render(chat("hello"), (item(),))
