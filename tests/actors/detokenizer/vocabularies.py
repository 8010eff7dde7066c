"""Tiny tokenizers of the two great kinds, made on the spot."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

SPECIAL = ["<s>", "</s>", "<|im_end|>"]
WORDS = [
    "hello",
    "world",
    "the",
    "cat",
    "stop",
    "end",
    "é",
    "日本",
    "er",
    "ing",
    "o",
    "l",
    "a",
    "b",
    "c",
    "s",
    "t",
    "p",
]


def byte_level() -> Tokenizer:
    """All 256 bytes, some merges that cut characters in the middle, three special tokens; ids of
    bytes are in byte order."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), key=_byte_of)
    vocab = {char: index for index, char in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for left, right in (
        (0xF0, 0x9F),
        (0xE6, 0x97),
        (0x20, 0x61),
        (0x73, 0x74),
        (0xA5, 0x20),
        (0x80, 0x80),
        (0xAC, 0x61),
    ):
        pair = alphabet[left], alphabet[right]
        vocab["".join(pair)] = len(vocab)
        merges.append(pair)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def sentencepiece() -> Tokenizer:
    """As Llama's: spaces as U+2581, unknown characters as byte tokens, one leading space stripped
    in decoding."""
    pieces = [*SPECIAL[:2], "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [word for plain in WORDS for word in ("\u2581" + plain, plain)] + ["\u2581"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: id for id, piece in enumerate(dict.fromkeys(pieces))},
            merges=[],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def id_of(tokenizer: Tokenizer, token: str) -> int:
    id = tokenizer.token_to_id(token)
    assert id is not None
    return int(id)


def _byte_of(char: str) -> int:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return (
        ord(char)
        if ord(char) in printable
        else [b for b in range(256) if b not in printable][ord(char) - 256]
    )
