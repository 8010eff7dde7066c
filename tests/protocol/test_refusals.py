"""What several processes refuse, in one place: the same words whoever finds it out."""

import pytest

from thespis.protocol.errors import RequestError
from thespis.protocol.refusals import beyond_context, check_token_ids, embeds_disabled


@pytest.mark.parametrize("ids", [(), (0, 31), {3: 1.0}, (5, 40, 41)])
def test_ids_of_the_vocabulary_pass(ids: tuple[int, ...]) -> None:
    check_token_ids(ids, 32, "tokens", beside=frozenset({40, 41}))


@pytest.mark.parametrize(
    ("ids", "strange"), [((1, 32), 32), ((-1,), -1), ((40, 99), 99), ({1 << 40: 1.0}, 1 << 40)]
)
def test_the_first_id_outside_is_named(ids: tuple[int, ...], strange: int) -> None:
    with pytest.raises(RequestError) as refused:
        check_token_ids(ids, 32, "tokens", beside=frozenset({40}))
    failure = refused.value.failure
    assert failure.text == f"Token id {strange} is not in the vocabulary of 32 tokens."
    assert (failure.part, failure.code, refused.value.status) == ("tokens", "out_of_range", 400)


def test_what_is_too_long_and_what_is_switched_off() -> None:
    failure = beyond_context("The prompt has 9 tokens", 8).failure
    assert failure.text == "The prompt has 9 tokens, the model's context is 8 tokens."
    assert failure.code == "context_length_exceeded"
    assert (
        "--enable-prompt-embeds" in embeds_disabled("prompt_embeds", "prompt_embeds").failure.text
    )
    failure = embeds_disabled("image_embeds", "messages[0].content[1]").failure
    assert failure.text == "You must set --enable-mm-embeds to input image_embeds"
    assert (failure.part, failure.code) == ("messages[0].content[1]", "embeds_disabled")
