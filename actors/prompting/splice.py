"""Where the items of a prompt lie in it. Pure.

The model's own processor says what stands for an item: a text in which each run of embedding rows
is ONE token. That text takes the place of the item's placeholder before the prompt is tokenised, as
there, so that what lies at its edges is tokenised with its neighbours; then each run gets its
length.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import NamedTuple, TypeVar, cast

from ...protocol.errors import RequestError, invalid
from ...protocol.facts import Frame, PlaceholderFacts
from ...protocol.requests.prepared import Span
from ...protocol.requests.request import Modality
from .tokens import MARKED, TextTokenizer, numbered_pattern

T = TypeVar("T")
NO_FRAME = Frame()


class Run(NamedTuple):
    """Rows of one part of an item that lie side by side in the prompt."""

    mark: int
    """The tokenizer's id of the one token that stands for it."""
    token_id: int
    """What stands for each row in the prompt: looked up nowhere, so any number."""
    length: int
    part: int = 0
    """Index among the item's parts."""


@dataclass(frozen=True)
class Insert:
    """What stands for one item in a prompt."""

    index: int
    """Of the item among the request's media."""
    text: str
    runs: tuple[Run, ...]
    """In the order of their tokens in `text`."""
    number: str = ""
    """Written before `text` by models that number their items."""


Queues = Mapping[Modality, Sequence[Insert]]
"""Items of each modality, in the order of their placeholders."""


class Laid(NamedTuple):
    """A prompt with all its rows."""

    token_ids: list[int]
    placed: list[tuple[Insert, list[Span]]]
    """The items as they follow each other, with the places of their runs; all offsets are left
    0."""


class Splicer:
    """Knows the placeholders of one model, in texts and among token ids."""

    def __init__(
        self,
        placeholders: Mapping[Modality, PlaceholderFacts],
        tokenizer: TextTokenizer,
        frame: Frame = NO_FRAME,
    ) -> None:
        self._facts = placeholders
        self._frame = frame
        self._tokenizer = tokenizer
        longest_first = sorted(
            placeholders.items(), key=lambda one: len(one[1].token), reverse=True
        )
        self._places = re.compile("|".join([MARKED, *(_names_of(*one) for one in longest_first)]))
        """Of its groups the last is the modality, and `MODALITY_number` the item's number, where it
        has one."""
        self._apart = any(facts.apart for facts in placeholders.values())
        every = placeholders.values()
        self._marks = {mark: text for facts in every for text, mark in facts.marks.items()}
        embed_texts = {facts.embed_token_id: facts.embed_token for facts in every}
        self._embed_texts = embed_texts | self._marks
        self.marks = {
            number: tokenizer.place_of(text) for number, text in self._embed_texts.items()
        }
        """Of each embedding token the id that this tokenizer has for its text."""
        self.ids = {modality: _spoken(facts, tokenizer) for modality, facts in placeholders.items()}
        """How a caller's token ids name an item; None: they cannot."""
        named = {number for number in self.ids.values() if number is not None}
        self.spoken_ids = frozenset({*self._embed_texts, *named})
        """Ids that stand for items or their rows, wherever the model's table ends."""

    def runs(
        self, text: str, counts: Sequence[int], embed_token_ids: Sequence[int]
    ) -> tuple[Run, ...]:
        """Of an item's `text`, whose parts have these embedding tokens. Raises ValueError where the
        two do not fit."""
        part_of = {text: (number, 0) for number, text in self._marks.items()}
        part_of |= {
            self._embed_texts[number]: (number, part) for part, number in enumerate(embed_token_ids)
        }
        longest_first = "|".join(map(re.escape, sorted(part_of, key=len, reverse=True)))
        found = [part_of[match] for match in re.findall(longest_first, text)]
        return tuple(
            Run(self.marks[number], number, count, part)
            for (number, part), count in zip(found, counts, strict=True)
        )

    def in_text(self, text: str) -> Counter[Modality]:
        """Placeholders in a text, without those that a caller's words spell. Raises RequestError
        for numbers out of order."""
        found: Counter[Modality] = Counter()
        for modality, match in self._found(text):
            found[modality] += 1
            number = match.groupdict().get(f"{modality}_number")
            if number not in (None, str(found[modality])):
                wanted = self._facts[modality].numbered.format(n=found[modality])
                raise invalid(
                    f"The prompt numbers its items in their order: '{match[0]}' is not '{wanted}'."
                )
        return found

    def frame(self, text: str) -> str:
        """A text as the model's processor frames it, before the tokenizer does."""
        if self._frame.behind_items:
            at = max((match.end() for _, match in self._found(text)), default=0)
            text = text[:at] + self._frame.behind_items + text[at:]
        begin = "" if text.startswith(self._frame.begin) else self._frame.begin
        return begin + text + self._frame.end

    def _found(self, text: str) -> Iterator[tuple[Modality, re.Match[str]]]:
        """Every name of an item."""
        for match in self._places.finditer(text):
            if match.lastgroup is not None:
                yield cast(Modality, match.lastgroup), match

    def in_ids(self, ids: Sequence[int], wanted: Collection[Modality]) -> Counter[Modality]:
        """Names of items among a caller's token ids; where there are none, the rows of items that
        he has expanded himself."""
        found: Counter[Modality] = Counter()
        for modality, facts in self._facts.items():
            found[modality] = self._named(modality, ids)
            if not found[modality] and (modality in wanted or self._own_embeds(modality)):
                found[modality] = ids.count(facts.embed_token_id)
        return found

    def spoken(self, ids: list[int]) -> list[int]:
        """What a text became, as a caller may see it: ids of the model's for tokens that its
        tokenizer does not have."""
        strange = {mark: number for number, mark in self.marks.items() if mark < 0}
        return [strange.get(token, token) for token in ids] if strange else ids

    def lay_text(self, text: str, marked: bool, framed: bool, queues: Queues) -> Laid:
        """Of a text with one placeholder for each item. `marked`: callers' words in it are;
        `framed`: it gets the tokenizer's own beginning and end."""
        order: list[Insert] = []
        between: list[str] = []
        waiting = {modality: iter(queue) for modality, queue in queues.items()}
        done = 0
        for modality, match in self._found(text):
            insert = next(waiting[modality], None)
            if insert is not None:
                order.append(insert)
                between.append(text[done : match.start()])
                done = match.end()
        between.append(text[done:])
        encode = self._tokenizer.encode_marked if marked else self._tokenizer.encode
        items = [insert.number + insert.text for insert in order]
        if not self._apart:
            spliced = "".join(chain.from_iterable(zip_longest(between, items, fillvalue="")))
            return self._expand(encode(spliced, framed), order)
        texts = [encode(piece, framed) for piece in between]
        runs = [self._tokenizer.encode_within(item) for item in items]
        pieces = chain.from_iterable(zip_longest(texts, runs, fillvalue=[]))
        return self._expand(list(chain.from_iterable(pieces)), order)

    def lay_ids(self, ids: Sequence[int], queues: Queues) -> Laid:
        """Of a caller's token ids, in which an item is named by its placeholder or by its whole
        run."""
        names: dict[int, Iterator[Insert]] = {}
        whole: dict[int, list[tuple[Insert, Run]]] = {}
        for modality, queue in queues.items():
            if self._whole(modality, ids, len(queue)):
                facts, runs_of = self._facts[modality], _runs_of(queue)
                for number in (facts.embed_token_id, *facts.marks.values()):
                    own = [one for one in runs_of if one[1].token_id == number]
                    whole.setdefault(number, []).extend(own)
            elif (name := self.ids[modality]) is not None:
                names[name] = iter(queue)
        for number, found in whole.items():
            if number not in names and ids.count(number) != sum(run.length for _, run in found):
                raise too_many(self._embed_texts[number])
        runs = {number: iter(found) for number, found in whole.items()}
        out: list[int] = []
        order: list[Insert] = []
        at = 0
        while at < len(ids):
            token, length = ids[at], 1
            if token in names:
                order.append(insert := self._next(names[token], token))
                out += self._tokenizer.encode_within(insert.number + insert.text)
            elif token in runs:
                insert, run = self._next(runs[token], token)
                if list(ids[at : at + run.length]) != [token] * run.length:
                    raise _wrong_run(self._embed_texts[token], run.length)
                if not order or order[-1] is not insert:
                    order.append(insert)
                out.append(run.mark)
                length = run.length
            else:
                out.append(token)
            at += length
        for insert in chain.from_iterable(queues.values()):
            if insert not in order:
                run = insert.runs[0]
                raise _wrong_run(self._embed_texts[run.token_id], run.length)
        return self._expand(out, order)

    def _next(self, waiting: Iterator[T], token: int) -> T:
        found = next(waiting, None)
        if found is None:
            raise too_many(self._embed_texts.get(token) or self._tokenizer.token(token) or "")
        return found

    def lead(self, insert: Insert) -> int:
        """Tokens of the item's own text before its first run."""
        return self._tokenizer.encode_within(insert.text).index(insert.runs[0].mark)

    def _expand(self, ids: list[int], order: list[Insert]) -> Laid:
        """Give each run its length. Raises RequestError where the prompt has embedding tokens that
        are no item's."""
        runs = [(number, run) for number, insert in enumerate(order) for run in insert.runs]
        marks = {run.mark for _, run in runs}
        places = [at for at, token in enumerate(ids) if token in marks]
        if [ids[at] for at in places] != [run.mark for _, run in runs]:
            raise too_many(self._embed_texts[runs[0][1].token_id])
        out: list[int] = []
        placed: list[tuple[Insert, list[Span]]] = [(insert, []) for insert in order]
        done = 0
        for at, (number, run) in zip(places, runs, strict=True):
            out += ids[done:at]
            placed[number][1].append(Span(len(out), run.length))
            out += [run.token_id] * run.length
            done = at + 1
        return Laid(out + ids[done:], placed)

    def _named(self, modality: Modality, ids: Sequence[int]) -> int:
        number = self.ids[modality]
        return 0 if number is None else ids.count(number)

    def _own_embeds(self, modality: Modality) -> bool:
        """Its rows have a token that names no item of any modality."""
        return self._facts[modality].embed_token_id not in self.ids.values()

    def _whole(self, modality: Modality, ids: Sequence[int], items: int) -> bool:
        """The caller has expanded its items himself."""
        expanded = self._own_embeds(modality) and self._facts[modality].embed_token_id in ids
        return expanded or self._named(modality, ids) != items


def _names_of(modality: Modality, facts: PlaceholderFacts) -> str:
    """A pattern of what names an item in a text."""
    names = [re.escape(facts.token)]
    if facts.numbered:
        names.append(numbered_pattern(facts.numbered, f"{modality}_number"))
    return f"(?P<{modality}>{'|'.join(names)})"


def _runs_of(queue: Sequence[Insert]) -> list[tuple[Insert, Run]]:
    """For items that a caller has expanded himself. Raises RequestError."""
    if any(run.part for insert in queue for run in insert.runs):
        raise invalid("A clip with its sound is named by one placeholder.")
    return [(insert, run) for insert in queue for run in insert.runs]


def _spoken(facts: PlaceholderFacts, tokenizer: TextTokenizer) -> int | None:
    if facts.token == facts.embed_token:
        return facts.embed_token_id
    number = tokenizer.place_of(facts.token)
    return number if number >= 0 else None


def too_many(token: str) -> RequestError:
    return invalid(
        f"Found more '{token}' placeholders in input prompt than actual multimodal data items."
    )


def _wrong_run(token: str, length: int) -> RequestError:
    return invalid(f"A run of '{token}' has not the length of its item, {length}.")
