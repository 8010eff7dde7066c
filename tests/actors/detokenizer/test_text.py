import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders

from thespis.actors.detokenizer.text import HOPELESS, ByteText, TextStream, text_of
from thespis.actors.detokenizer.vocabulary import Vocabulary

from .vocabularies import byte_level, id_of, sentencepiece

BYTES, PIECES = byte_level(), sentencepiece()
texts = st.text(
    st.sampled_from("ab stop日本é👋\u200d🏽\n\u2028ß\ufffd") | st.characters(codec="utf-8"),
    max_size=40,
)
byte_ids = st.lists(st.integers(0, BYTES.get_vocab_size() - 1), max_size=60)
piece_ids = st.lists(
    st.integers(259, PIECES.get_vocab_size() - 1) | st.sampled_from([0, 1]), max_size=60
)


def streamed(
    vocabulary: Vocabulary, ids: list[int], context: tuple[int, ...] = (), skip: bool = True
) -> list[str]:
    stream = text_of(vocabulary, context, skip)
    return [*(stream.push(id) for id in ids), stream.flush()]


@settings(deadline=None)
@given(texts)
def test_byte_level_text_equals_decoding_at_once(text: str) -> None:
    ids = BYTES.encode(text).ids
    assert "".join(streamed(Vocabulary(BYTES), ids)) == BYTES.decode(ids) == text


@settings(deadline=None)
@given(texts)
def test_text_never_has_a_partial_character(text: str) -> None:
    pieces = streamed(Vocabulary(BYTES), BYTES.encode(text.replace("\ufffd", "")).ids)
    assert not any("\ufffd" in piece for piece in pieces)


@settings(deadline=None)
@given(byte_ids, st.booleans())
def test_any_byte_tokens_equal_decoding_at_once(ids: list[int], skip: bool) -> None:
    assert "".join(streamed(Vocabulary(BYTES), ids, skip=skip)) == BYTES.decode(
        ids, skip_special_tokens=skip
    )


@settings(deadline=None)
@given(byte_ids, st.booleans())
def test_bytes_as_they_come_are_what_a_window_shows(ids: list[int], skip: bool) -> None:
    """After each token at least as much, and in the end the same."""
    one, other = ByteText(Vocabulary(BYTES), skip), TextStream(Vocabulary(BYTES), (), skip)
    early = late = ""
    for id in ids:
        early, late = early + one.push(id), late + other.push(id)
        assert early.startswith(late)
    assert early + one.flush() == late + other.flush()


def test_added_tokens_are_read_as_the_tokenizer_reads_them() -> None:
    """One of the bytes' alphabet as bytes, another as it is written; what ends a turn is shown on
    request."""
    tokenizer = byte_level()
    tokenizer.add_tokens(["n\u00e9e", "a b", "\u65e5x"])
    vocabulary = Vocabulary(tokenizer)
    ids = [
        id_of(tokenizer, token) for token in ("n\u00e9e", "a b", "<|im_end|>", "\u65e5x", "<s>")
    ] + [0x61, 1 << 20]
    for skip in (True, False):
        assert "".join(streamed(vocabulary, ids, skip=skip)) == tokenizer.decode(
            ids, skip_special_tokens=skip
        )


def test_a_decoder_of_more_than_bytes_is_asked_for_its_text() -> None:
    tokenizer = byte_level()
    assert Vocabulary(tokenizer).says_bytes
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip("a", 1, 0)])
    vocabulary = Vocabulary(tokenizer)
    assert not vocabulary.says_bytes
    ids = [id_of(tokenizer, "a"), id_of(tokenizer, "b")]
    assert "".join(streamed(vocabulary, ids)) == tokenizer.decode(ids) == "b"


@settings(deadline=None)
@given(texts)
def test_sentencepiece_text_equals_decoding_at_once(text: str) -> None:
    ids = PIECES.encode(text).ids
    assert "".join(streamed(Vocabulary(PIECES), ids)) == PIECES.decode(ids)


@settings(deadline=None)
@given(piece_ids, st.booleans())
def test_any_sentencepiece_tokens_equal_decoding_at_once(ids: list[int], skip: bool) -> None:
    assert "".join(streamed(Vocabulary(PIECES), ids, skip=skip)) == PIECES.decode(
        ids, skip_special_tokens=skip
    )


@settings(deadline=None)
@given(texts, texts)
def test_output_continues_the_prompt(prompt: str, text: str) -> None:
    before, ids = PIECES.encode(f"a{prompt}cat").ids, PIECES.encode(text).ids
    whole = PIECES.decode([*before, *ids])
    assert whole == PIECES.decode(before) + "".join(
        streamed(Vocabulary(PIECES), ids, tuple(before))
    )


def test_leading_space_is_kept_behind_a_prompt_and_stripped_without() -> None:
    word = id_of(PIECES, "\u2581hello")
    assert streamed(Vocabulary(PIECES), [word], (id_of(PIECES, "a"),))[0] == " hello"
    assert streamed(Vocabulary(PIECES), [word])[0] == "hello"


def test_a_character_comes_with_its_last_byte() -> None:
    pieces = streamed(
        Vocabulary(PIECES), [id_of(PIECES, f"<0x{byte:02X}>") for byte in "€".encode()]
    )
    assert pieces == ["", "", "€", ""]


def test_released_text_stays_when_a_run_of_bytes_turns_invalid() -> None:
    ids = [id_of(PIECES, f"<0x{byte:02X}>") for byte in ("€".encode() + b"\xe2")] + [
        id_of(PIECES, "\u2581the")
    ]
    assert streamed(Vocabulary(PIECES), ids) == ["", "", "€", "", "\ufffd the", ""]


def test_bytes_that_never_become_text_are_released_after_a_bounded_wait() -> None:
    for stream in (TextStream(Vocabulary(BYTES)), ByteText(Vocabulary(BYTES))):
        shown = "".join(stream.push(0xFF) for _ in range(3 * HOPELESS))
        assert len(shown) >= 2 * HOPELESS


def test_a_prompt_that_ends_inside_a_character_does_not_repeat_text() -> None:
    ids = BYTES.encode("ab日").ids
    assert "".join(streamed(Vocabulary(BYTES), ids, context=(0xE6,))) == "ab日"


@pytest.mark.parametrize(
    ("tokenizer", "token", "raw"),
    [
        (BYTES, 0xE2, b"\xe2"),
        (BYTES, id_of(BYTES, "<|im_end|>"), b"<|im_end|>"),
        (PIECES, id_of(PIECES, "\u2581hello"), b" hello"),
        (PIECES, id_of(PIECES, "<0xE2>"), b"\xe2"),
        (PIECES, id_of(PIECES, "日本"), "日本".encode()),
        (PIECES, 1 << 20, b""),
    ],
)
def test_a_tokens_own_bytes(tokenizer: object, token: int, raw: bytes) -> None:
    assert Vocabulary(tokenizer).token(token) == (raw.decode("utf-8", "replace"), raw)  # type: ignore[arg-type]
