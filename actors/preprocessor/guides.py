"""Guides at the preprocessor: what is remembered of them, and words for what is wrong with one. Pure but for the engine.

A guide is built for the first time in a decode worker, under its limits: whatever a caller's grammar does to the grammar
engine, it does there. The runner builds only what has passed.
"""

import json
import re
import time
from collections import OrderedDict
from hashlib import blake2b
from typing import Any

from ...protocol.checkpoint import ModelInfo
from ...protocol.errors import Failure, RequestError, refuse
from ...protocol.guide import Guide, checked, grammar_of

REMEMBERED = 1024
"""Verdicts that are kept."""
CODE = "invalid_grammar"
CPU_SECONDS = 1.0
"""That building a guide and its first masks may take: the runner will take as long, between two steps of everybody."""
PROBE_TOKENS = 8
GUIDE_MEMORY = 512 << 20
"""Bytes that building one may add."""
TOO_SLOW = Failure("invalid_request", "The grammar takes too long to build; make it simpler.", code=CODE)
TOO_LARGE = Failure("invalid_request", "The grammar takes too much memory to build; make it simpler.", code=CODE)


class KnownGuides:
    """Verdicts by the guide's digest; the oldest are forgotten."""

    def __init__(self) -> None:
        self._verdicts: OrderedDict[str, Guide | Failure] = OrderedDict()

    @staticmethod
    def key(guide: Guide) -> str:
        """Also the name of the task that brings the verdict; no media item has such a key."""
        return f"guide:{blake2b(f'{guide.kind}:{guide.text}'.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"

    def verdict(self, guide: Guide) -> Guide | Failure | None:
        """None: not known."""
        found = self._verdicts.get(key := self.key(guide))
        if found is not None:
            self._verdicts.move_to_end(key)
        return found

    def learn(self, key: str, verdict: Guide | Failure) -> None:
        if isinstance(verdict, Failure) and verdict.code != CODE:
            return  # a worker's own trouble, not the guide's
        self._verdicts[key] = verdict
        while len(self._verdicts) > REMEMBERED:
            self._verdicts.popitem(last=False)


class GuideChecker:
    """The worker's side: builds each guide as the runner will."""

    def __init__(self, info: ModelInfo, tokenizer_file: str) -> None:
        self._info, self._file = info, tokenizer_file
        self._tokenizer: Any = None

    def check(self, guide: Guide) -> Guide:
        """The guide as the runner wants it. Raises RequestError that says what is wrong with it."""
        from llguidance import LLMatcher

        self.load()
        vocabulary = self._tokenizer
        began = time.process_time()
        guide = _lark(guide)
        try:
            grammar = grammar_of(checked(guide))
        except (ValueError, RecursionError):
            raise refuse("invalid_request", "The grammar cannot be read.", code=CODE) from None
        matcher = LLMatcher(vocabulary, grammar, log_level=0)
        for _ in range(PROBE_TOKENS):
            if matcher.is_error() or matcher.is_stopped():
                break
            mask = matcher.compute_bitmask()
            token = next((8 * i + (byte & -byte).bit_length() - 1 for i, byte in enumerate(mask) if byte), None)
            if token is None or token in vocabulary.eos_tokens:
                break
            matcher.consume_token(token)
        if matcher.is_error():
            raise _explained(guide, matcher.get_error())
        if time.process_time() - began > CPU_SECONDS:
            raise RequestError(TOO_SLOW)
        return guide

    def load(self) -> None:
        """Read the vocabulary, once; raises RequestError where the grammar engine does not know this kind of tokenizer."""
        if self._tokenizer is None:
            from llguidance import LLTokenizer

            try:
                with open(self._file, encoding="utf-8") as file:
                    text = file.read()
                eos = list(self._info.eos_token_ids)
                self._tokenizer = LLTokenizer(text, n_vocab=self._info.vocab, eos_token=eos or None)
            except Exception as error:  # the library raises plain Exception
                raise refuse("unsupported", "This model's tokenizer does not support structured output.") from error


def _lark(guide: Guide) -> Guide:
    if guide.kind != "grammar":
        return guide
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        return Guide("grammar", any_to_lark(guide.text))
    except Exception as error:  # whatever its parser raises
        raise refuse("invalid_request", "The grammar is neither Lark (with a rule `start`) nor GBNF.", code=CODE) from error


def _explained(guide: Guide, text: str) -> RequestError:
    """In our own words, with no more of the engine's text than plain words of the caller's own."""
    what = {"regex": "regular expression", "grammar": "grammar"}.get(guide.kind, "JSON schema")
    if "TooComplex" in text or "too many expressions" in text or "too large" in text or "fuel" in text:
        return RequestError(TOO_LARGE)
    found = re.search(r"Unimplemented keys: (\[[^\]]*\])", text)
    if found:
        return _refusal(f"The JSON schema uses keywords that are not supported: {_words(found[1])}.")
    for pattern, words in _EXPLANATIONS:
        found = re.search(pattern, text)
        if found:
            return _refusal(words.format(what, *(re.sub(r"[^\w.-]", "", group)[:64] for group in found.groups())))
    return _refusal(f"The {what} is not valid.")


def _refusal(text: str) -> RequestError:
    return refuse("invalid_request", text, code=CODE)


def _words(names: str) -> str:
    try:
        listed = json.loads(names)
    except ValueError:
        return "some"
    return ", ".join(re.sub(r"[^\w-]", "", str(name))[:64] for name in listed[:8])


_EXPLANATIONS: tuple[tuple[str, str], ...] = (
    (r"look-around", "The {0} uses look-around, which is not supported."),
    (r"backreference", "The {0} uses back-references, which are not supported."),
    (r"Invalid type: (\S+)", "The {0} names the type {1}, which JSON does not have."),
    (r"Unsatisfiable schema", "The {0} is one that no value fits."),
    (r"[Pp]ointer .* does not exist", "The {0} refers to a definition that it does not have."),
    (r'unknown name: "?([\w-]+)', "The {0} uses the rule {1}, which it does not define."),
    (r"no start rule|start rule|missing start", "The {0} has no rule `start`."),
    (r"^(?:at )?(\d+)\((\d+)\)", "The {0} is not valid at line {1}, column {2}."),
)
