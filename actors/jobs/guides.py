"""Guides at the preprocessor: what is remembered of them, and words for what is wrong with one.
Pure but for the engine.

A guide is built for the first time in a decode worker, under its limits: whatever a caller's
grammar does to the grammar engine, it does there. The runner builds only what has passed.
"""

import re
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from ...protocol.bounded import Bounded
from ...protocol.errors import Failure, RequestError, invalid, refuse
from ...protocol.grammars.grammar import GuideError, grammar_of, lark_of, schemas_of
from ...protocol.requests.guide import Guide, checked
from ..kernel.budget import CpuSpent, within_cpu

REMEMBERED = 1024
"""Verdicts that are kept."""
CODE = "invalid_grammar"
CPU_SECONDS = 1.0
"""That writing a guide as a Lark grammar may take: here alone, where it delays nobody's streams."""
RUNNER_SECONDS = 0.03
"""That building the grammar and its first masks may take: the runner takes as long between two
steps of everybody, and three times as long where all CPUs are busy. Of ninety real schemas the
dearest takes 6 ms, an enumeration of 3,000 values 10."""
PROBE_TOKENS = 8
GUIDE_MEMORY = 512 << 20
"""Bytes that building one may add."""
TOO_SLOW, TOO_LARGE = (
    Failure("invalid_request", f"The grammar takes {what} to build; make it simpler.", code=CODE)
    for what in ("too long", "too much memory")
)


class KnownGuides:
    """Verdicts by the guide's digest; the oldest are forgotten."""

    def __init__(self) -> None:
        self._verdicts: Bounded[str, Guide | Failure] = Bounded(REMEMBERED)

    @staticmethod
    def key(guide: Guide) -> str:
        """Also the name of the task that brings the verdict; no media item has such a key."""
        said = f"{guide.kind}:{guide.text}".encode("utf-8", "surrogatepass")
        return f"guide:{blake2b(said, digest_size=16).hexdigest()}"

    def verdict(self, guide: Guide) -> Guide | Failure | None:
        """None: not known."""
        return self._verdicts.use(self.key(guide))

    def learn(self, key: str, verdict: Guide | Failure) -> None:
        if isinstance(verdict, Failure) and verdict.code != CODE:
            return  # a worker's own trouble, not the guide's
        self._verdicts[key] = verdict


class _Trial(NamedTuple):
    error: str | None
    """The engine's own words for what it does not like."""
    seconds: tuple[float, ...]
    """Processor time until the first token, and for each further one."""


class GuideChecker:
    """The worker's side: builds each guide as the runner will."""

    def __init__(self, vocabulary: Callable[[], Any]) -> None:
        """`vocabulary`: loads the model's in the grammar engine's form."""
        self._load = vocabulary
        self._tokenizer: Any = None

    def check(self, guide: Guide) -> Guide:
        """The guide as the runner wants it: a Lark grammar. Raises RequestError that says what is
        wrong with it."""
        self.load()
        try:
            lark = within_cpu(CPU_SECONDS, lambda: _lark(guide))
        except CpuSpent:
            raise RequestError(TOO_SLOW) from None
        trial = self._try(lark)
        if trial.error is not None:
            raise self._explained(guide, trial.error)
        if sum(trial.seconds) > RUNNER_SECONDS:  # the first may have paid for what is loaded once
            trial = self._try(lark)
        if sum(trial.seconds) > RUNNER_SECONDS:
            raise RequestError(TOO_SLOW)
        first, each = trial.seconds[0], max(trial.seconds[1:], default=0.0)
        return msgspec.structs.replace(lark, first_seconds=first, each_seconds=each)

    def _try(self, lark: Guide) -> _Trial:
        """Build it as the runner will, and follow it for a few tokens."""
        from llguidance import LLMatcher

        vocabulary = self._tokenizer
        seconds, began = list[float](), time.thread_time()
        matcher = LLMatcher(vocabulary, grammar_of(lark), log_level=0)
        for _ in range(PROBE_TOKENS):
            if matcher.is_error() or matcher.is_stopped():
                break
            mask = int.from_bytes(matcher.compute_bitmask(), "little")
            token = (mask & -mask).bit_length() - 1
            if token < 0 or token in vocabulary.eos_tokens:
                break
            matcher.consume_token(token)
            seconds.append(time.thread_time() - began)
            began += seconds[-1]
        seconds.append(time.thread_time() - began)
        return _Trial(str(matcher.get_error()) if matcher.is_error() else None, tuple(seconds))

    def _explained(self, guide: Guide, error: str) -> RequestError:
        for owner, lark in schemas_of(guide):
            own = self._try(Guide("grammar", lark))
            if own.error is not None:
                return _explained(f"JSON schema of {owner}", own.error)
        return _explained(_WHAT.get(guide.kind, "JSON schema"), error)

    def load(self) -> None:
        """Read the vocabulary, once; raises RequestError where the grammar engine does not know
        this kind of tokenizer."""
        if self._tokenizer is None:
            try:
                self._tokenizer = self._load()
            except Exception as error:  # the library raises plain Exception
                text = "This model's tokenizer does not support structured output."
                raise refuse("unsupported", text) from error


def _lark(guide: Guide) -> Guide:
    try:
        checked(guide)
        if guide.kind != "grammar":
            return Guide("grammar", lark_of(guide))
    except GuideError as error:
        raise _refusal(str(error)) from None
    except (ValueError, RecursionError):
        raise _refusal("The grammar cannot be read.") from None
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        return Guide("grammar", any_to_lark(guide.text))
    except Exception as error:  # whatever its parser raises
        raise _refusal("The grammar is neither Lark (with a rule `start`) nor GBNF.") from error


_WHAT = {"regex": "regular expression", "grammar": "grammar", "tool_calls": "tools' grammar"}


def _explained(what: str, text: str) -> RequestError:
    """In our own words, with no more of the engine's text than plain words of the caller's own."""
    if any(sign in text for sign in ("TooComplex", "too many expressions", "too large", "fuel")):
        return RequestError(TOO_LARGE)
    for pattern, words in _EXPLANATIONS:
        if found := re.search(pattern, text):
            named = [re.sub(r"[^\w.-]", "", group)[:64] for group in found.groups()]
            return _refusal(words.format(what, *named))
    place = re.search(r"^(?:at )?(\d+)\((\d+)\)", text)
    if place is not None and what == "grammar":  # a text that the caller wrote
        return _refusal(f"The grammar is not valid at line {place[1]}, column {place[2]}.")
    return _refusal(f"The {what} is not valid.")


def _refusal(text: str) -> RequestError:
    return invalid(text, code=CODE)


_EXPLANATIONS: tuple[tuple[str, str], ...] = (
    (r"look-?around", "The {0} uses look-around, which is not supported."),
    (r"backreference", "The {0} uses back-references, which are not supported."),
    (r"Unsatisfiable schema", "The {0} is one that no value fits."),
    (
        r"circular references",
        "The {0} refers to itself beside other conditions, which is not supported.",
    ),
    (
        r"min/maxProperties",
        "The {0} uses `minProperties` or `maxProperties` where some `properties` may be left "
        "out, which is not supported.",
    ),
    (
        r"are not disjoint",
        "The {0} has `patternProperties` that may match the same name, which is not supported.",
    ),
    (
        r"Failed to generate regex for \w+ range",
        "The {0} has bounds of a number that cannot be enforced together.",
    ),
    (
        r"[Uu]nicode property|property (?:name|value|not)",
        "The {0} uses a Unicode property that does not exist.",
    ),
    (r'unknown name: "?([\w-]+)', "The {0} uses the rule {1}, which it does not define."),
    (r"no start rule|start rule|missing start", "The {0} has no rule `start`."),
)
