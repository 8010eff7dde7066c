"""Text to token ids by the checkpoint's tokenizer.json, with words that must not become special
tokens marked."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer

from ...protocol.bounded import Bounded
from ...protocol.checkpoint.json_files import read_object
from ...protocol.checkpoint.tokenizer_file import tokenizer_text
from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts, PlaceholderFacts
from ...protocol.requests.sampling import SamplingParams

_OPEN, _CLOSE = "\U000f0000", "\U000f0001"
"""Private-use characters around a special token's spelling in somebody's text; never in a prompt
otherwise."""
MARKED = f"{_OPEN}[^{_OPEN}{_CLOSE}]*{_CLOSE}"
"""A pattern of what `mark` has marked."""

DIGITS = 9
"""Of an item's number in a prompt, at most."""

TEMPLATES = 16
"""Templates whose patterns are kept; a request may bring its own."""


class Control(NamedTuple):
    """The tokens that a caller's words must not become."""

    pattern: re.Pattern[str]
    """Any of them, the longest first."""
    longest: int
    """Characters."""
    spelled: str = ""
    """The tokens in lower case, with NULs between them."""


class TextTokenizer:
    """Equal, id for id, to transformers' tokenizer of the same checkpoint."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: Mapping[str, Any],
        more: Iterable[str] = (),
        numbered: Iterable[str] = (),
    ) -> None:
        """`more`: texts that are one token whether the tokenizer has them or not, as `place_of`
        says. `numbered`: further names of items, which a caller's words must not become either."""
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._own: dict[int, int] = {}
        """Ids that the library gave to tokens of ours: they would be another's in the model. Ours
        are negative."""
        self._have(more)
        self.special_texts: dict[str, str] = {}
        """What a template may name: bos_token, eos_token, image_token ..."""
        for name, value in config.items():
            text = value.get("content") if isinstance(value, dict) else value
            if name.endswith("_token") and isinstance(text, str):
                self.special_texts[name] = text
        added = self._tokenizer.get_added_tokens_decoder().values()
        self._added = tuple(token.content for token in added)
        self.special_tokens = frozenset(token.content for token in added if token.special)
        self._numbered = tuple(numbered)
        self._controls: Bounded[tuple[str, frozenset[str]], Control] = Bounded(TEMPLATES)
        self._newline = self._plain("\n")
        self.prefix, self.suffix = self._frame()
        """What it puts around a text."""
        self.longest: int = max(map(len, self._tokenizer.get_vocab()), default=1)
        """Characters that one token stands for, at most."""

    def _have(self, texts: Iterable[str]) -> None:
        added = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        for text in dict.fromkeys(texts):
            strange = self._tokenizer.token_to_id(text) is None
            if text not in added:  # the vocabulary may have it as a word like others
                self._tokenizer.add_special_tokens([AddedToken(text, normalized=False)])
            if strange:
                self._own[self._number(text)] = -1 - len(self._own)

    def token(self, token_id: int) -> str | None:
        text: str | None = self._tokenizer.id_to_token(token_id)
        return text

    def token_of(self, text: str, vocab: int) -> int:
        """The id of the token that `text` is by itself, of those of the model; -1: it is none."""
        number = self._tokenizer.token_to_id(text)
        return number if number is not None and text in self._added and number < vocab else -1

    def place_of(self, text: str) -> int:
        """The id of one of the tokens that were named at the beginning; negative where the
        tokenizer does not have it."""
        number = self._number(text)
        return self._own.get(number, number)

    def _number(self, text: str) -> int:
        number: int | None = self._tokenizer.token_to_id(text)
        assert number is not None, f"{text!r} was not named"
        return number

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        (ids,) = self._encode_all([text], add_special_tokens)
        return ids

    def encode_within(self, text: str) -> list[int]:
        """As in the middle of a text: SentencePiece puts a space before what it takes for a
        beginning."""
        return self._after_newlines([text])[text]

    def _encode_all(self, texts: list[str], add_special_tokens: bool = False) -> list[list[int]]:
        # Not `encode`: it keeps the interpreter's lock, and a megabyte of text would silence the
        # heartbeats for a second.
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
        found: list[list[int]] = [encoding.ids for encoding in encodings]
        if self._own:
            return [[self._own.get(number, number) for number in ids] for ids in found]
        return found

    def spellings(self, words: Iterable[str]) -> tuple[tuple[int, ...], ...]:
        """The token sequences of words, at a beginning and after a space, each once."""
        texts = (text for word in words for text in (word.lstrip(), f" {word.lstrip()}"))
        spelled = dict.fromkeys(tuple(self._as_text(text)) for text in texts)
        return tuple(filter(None, spelled))

    def spelled(self, sampling: SamplingParams, vocab: int) -> SamplingParams:
        """With the words that may not come as token sequences."""
        if not sampling.bad_words:
            return sampling
        spelled = self.spellings(sampling.bad_words)
        # A token that the model does not have is never chosen, and so is no word with it.
        return sampling.replace(bad_words_ids=tuple(ids for ids in spelled if max(ids) < vocab))

    def control_tokens(self, literals: str, always: frozenset[str]) -> Control:
        """What in a caller's words must stay text: special tokens, `always`, and added tokens that
        the template writes."""
        known = self._controls.get((literals, always))
        if known is not None:
            return known
        tokens = {token for token in self._added if token in self.special_tokens or token in always}
        tokens |= {token for token in self._added if token in literals and not token.isspace()}
        longest_first = sorted(tokens, key=len, reverse=True)
        names = [numbered_pattern(name) for name in self._numbered]
        pattern = re.compile("|".join([*names, *map(re.escape, longest_first)]) or "(?!)")
        lengths = [*map(len, tokens), *(len(name) + DIGITS for name in self._numbered)]
        spelled = "\0".join(token.lower() for token in longest_first)
        control = Control(pattern, max(lengths, default=0), spelled)
        self._controls[literals, always] = control
        return control

    def encode_marked(self, text: str, add_special_tokens: bool) -> list[int]:
        """Like `encode`, but what `mark` has marked becomes plain text. Text without marks is
        encoded in one piece."""
        if _OPEN not in text and _CLOSE not in text:
            return self.encode(text, add_special_tokens)
        pieces = re.split(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}|[{_OPEN}{_CLOSE}]", text)
        marked = {piece: self._as_text(piece) for piece in set(filter(None, pieces[1::2]))}
        between = self._after_newlines(list(dict.fromkeys(filter(None, pieces[2::2]))))
        ids = self._plain(pieces[0])
        for index, piece in enumerate(pieces[1:], start=1):
            if piece:
                ids += (marked if index % 2 else between)[piece]
        return [*self.prefix, *ids, *self.suffix] if add_special_tokens else ids

    def _plain(self, text: str) -> list[int]:
        return self.encode(text, False)

    def _as_text(self, piece: str) -> list[int]:
        token = self._tokenizer.token_to_id(piece)
        self._tokenizer.encode_special_tokens = True  # the library's name for "encode them as text"
        try:
            ids = self.encode_within(piece)
        finally:
            self._tokenizer.encode_special_tokens = False
        # An added token that is not special: spelled letter by letter it is plain text.
        if token is not None and token in ids:
            return [number for letter in piece for number in self.encode_within(letter)]
        return ids

    def _after_newlines(self, pieces: list[str]) -> dict[str, list[int]]:
        """Each as `encode_within`, at once: one call for each would hold everybody up where a
        caller's words are full of marks."""
        encoded = self._encode_all(["\n" + piece for piece in pieces])
        start = len(self._newline)
        return {
            piece: ids[start:] if ids[:start] == self._newline else self._plain(piece)
            for piece, ids in zip(pieces, encoded, strict=True)
        }

    def _frame(self) -> tuple[list[int], list[int]]:
        """What the post-processor puts before and after a text."""
        bare, framed = self._plain("a"), self.encode("a", True)
        for start in range(len(framed) - len(bare) + 1):
            if framed[start : start + len(bare)] == bare:
                return framed[:start], framed[start + len(bare) :]
        return [], []


def read_tokenizer(model: ModelFacts) -> TextTokenizer:
    """A model's, in which every placeholder is one token. Raises EngineError for files that cannot
    be read."""
    try:
        tokenizer = Tokenizer.from_str(tokenizer_text(model.path, model.tokenizer_parts))
    except Exception as error:  # the library raises plain Exception
        raise EngineError("The model's tokenizer.json cannot be read.") from error
    places = model.placeholders.values()
    numbered = [place.numbered for place in places if place.numbered]
    config = read_object(Path(model.path), "tokenizer_config.json")
    return TextTokenizer(tokenizer, config, spelled_tokens(places), numbered)


def spelled_tokens(places: Iterable[PlaceholderFacts]) -> list[str]:
    """What names items and their rows in a text."""
    return [text for one in places for text in (one.token, one.embed_token, *one.marks)]


def numbered_pattern(name: str, group: str = "") -> str:
    """Of `name` with any number in the place of `{n}`, which is the group's content where a group
    is named."""
    number = f"[0-9]{{1,{DIGITS}}}"
    return re.escape(name).replace(re.escape("{n}"), f"(?P<{group}>{number})" if group else number)


def mark(value: Any, control: Control) -> Any:
    """Mark control tokens in a string, or in every string within a list or dict, names of fields
    included."""
    match value:
        case str():
            clean = unmark(value)  # callers may not bring marks of their own
            return control.pattern.sub(lambda found: f"{_OPEN}{found[0]}{_CLOSE}", clean)
        case Mapping():
            return {_mark_name(key, control): mark(entry, control) for key, entry in value.items()}
        case list() | tuple():
            return [mark(entry, control) for entry in value]
        case _:
            return value


def _mark_name(name: Any, control: Control) -> Any:
    """A plain word is left alone, whatever a tokenizer has among its tokens: templates ask for
    fields by it."""
    return name if isinstance(name, str) and name.isidentifier() else mark(name, control)


ROLES = ("system", "user", "assistant", "tool", "function")
"""Which OpenAI's API has; a template may know more."""


def mark_role(role: str, control: Control, known: Collection[str]) -> str:
    """Templates build tokens from roles, `'<|' + role + '|>'`. One that is nobody's, neither the
    API's nor among the template's own words (`known`), makes none: where it is a piece of a control
    token's spelling it is set apart, and so is what it spells itself; both stay text.
    """
    if role in ROLES or role in known:
        return role
    clean = unmark(role)
    marked: str = mark(clean, control)
    return f"{_OPEN}{clean}{_CLOSE}" if clean.lower() in control.spelled else marked


def mark_texts(texts: Sequence[str], control: Control) -> list[str]:
    """Mark texts that a template may write one behind the other, trimmed or not: what they spell
    together is broken apart."""
    clean = [unmark(text) for text in texts]
    whole = _spelled_over(clean, control)
    trimmed = _spelled_over([text.strip() for text in clean], control)
    return [
        (_CLOSE if first or second else "") + mark(text, control)
        for text, first, second in zip(clean, whole, trimmed, strict=True)
    ]


def _spelled_over(texts: Sequence[str], control: Control) -> list[bool]:
    """Of each text: a control token begins before it and reaches into it."""
    whole, seam, found = "".join(texts), 0, []
    for text in texts:
        matches = (
            control.pattern.match(whole, start)
            for start in range(max(0, seam - control.longest + 1), seam)
        )
        found.append(any(match is not None and match.end() > seam for match in matches))
        seam += len(text)
    return found


def count_marked(text: str) -> int:
    """Control tokens that are marked in it: each becomes at least one token."""
    return text.count(_OPEN)


def unmark(text: str) -> str:
    """The text as the caller would read it."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")
