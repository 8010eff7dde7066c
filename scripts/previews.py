"""Whether media cost what their preview says, for every family: `scripts/dev previews`

Random items of every form are asked first what they cost, for which nothing may be decoded, and
then sent: prompt tokens and each item's rows must be those of the answer. What is refused must be
refused by both. A line for each model; the exit code is 1 where one differs. `--out` keeps lines,
and a run goes on where an earlier one ended.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from thespis import LLM, RequestOutput, SamplingParams
from thespis.frontends.inputs.previews import MediaPreview
from thespis.protocol.errors import EngineError, RequestError
from thespis.tests.helpers.media import data_url
from thespis.tests.helpers.random_media import (
    CLIPS,
    PICTURES,
    SOUNDS,
    File,
    random_clip,
    random_picture,
    random_sound,
)
from thespis.tests.zoo.catalog import NAMES, animal, build

DEMO = "demo"
ONE_TOKEN = SamplingParams(temperature=0.0, max_tokens=1)
TOGETHER = 40
"""Items in memory at once."""
UNKNOWN = "cost_unknown"
Messages = list[dict[str, Any]]


class Line(msgspec.Struct):
    """What came out for one model."""

    name: str
    equal: int = 0
    too_long: int = 0
    """For the context: told by the preview, and refused."""
    refused: int = 0
    """By both, with the same code."""
    unknown: int = 0
    """Of which the headers do not tell it."""
    decoded: float = 0.0
    """By the previews."""
    wrong: list[str] = []
    reason: str = ""
    """Why it was not asked: the engine's own sentence."""
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of processors, of all processes together."""

    @property
    def good(self) -> bool:
        return not (self.wrong or self.reason or self.decoded or self.unknown) and self.equal > 0

    def told(self) -> str:
        counts = f"{self.equal:4d} equal {self.too_long:3d} too long {self.refused:3d} refused"
        more = f"{self.unknown:3d} unknown {self.decoded:3.0f} decoded {len(self.wrong):3d} wrong"
        why = self.reason or "; ".join(self.wrong[:3])
        took = f"{self.seconds:6.1f} s {self.cpu:6.1f} s CPU"
        return f"{self.name:20s} {counts} {more} {took}  {why}".rstrip()


class Sent(NamedTuple):
    """One item in a conversation, and what was told of it."""

    messages: Messages
    told: MediaPreview | RequestError


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev previews", description=__doc__)
    named = (DEMO, *(name for name in NAMES if animal(name).takes))
    parser.add_argument("--types", nargs="+", metavar="NAME", choices=named, default=named)
    parser.add_argument("--items", type=int, default=200, help="of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="file of the lines")
    given = parser.parse_args(words)
    lines: dict[str, Line] = {}
    if given.out is not None and given.out.exists():
        kept = msgspec.json.decode(given.out.read_bytes(), type=list[Line])
        lines = {line.name: line for line in kept}
    for name in given.types:
        if name not in lines:
            lines[name] = asked(name, given.items, given.seed)
            if given.out is not None:
                given.out.write_bytes(msgspec.json.encode(list(lines.values())))
        print(lines[name].told(), flush=True)
    asked_for = [lines[name] for name in given.types]
    good = sum(line.good for line in asked_for)
    print(f"{sum(line.equal for line in asked_for)} items equal; {good} of {len(asked_for)} models")
    return 0 if good == len(asked_for) else 1


def asked(name: str, items: int, seed: int) -> Line:
    line = Line(name)
    began, before = time.monotonic(), _cpu_seconds()
    try:
        with loaded(name) as (llm, modalities):
            compare(llm, iter(_kept(seed, modalities, items)), line)
    except EngineError as error:
        line.reason = str(error)
    line.seconds, line.cpu = time.monotonic() - began, _cpu_seconds() - before
    return line


def _cpu_seconds() -> float:
    """Of this process and of all that have ended below it."""
    return sum(os.times()[:4])


@contextmanager
def loaded(name: str) -> Iterator[tuple[LLM, tuple[str, ...]]]:
    options: dict[str, Any] = {"device": "cpu", "max_num_seqs": 16, "runner_threads": 1}
    options |= {"dtype": "float32", "encoder_threads": 1}
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        takes: tuple[str, ...] = ("image", "video", "audio")
        model = ""
        if name != DEMO:
            takes, model = animal(name).takes, str(build(name, Path(folder) / name))
        with LLM(model, **options) as llm:
            yield llm, takes


def forms(modalities: Sequence[str]) -> list[Callable[[Random], File]]:
    """All that there are, each as what draws one of it."""
    found: list[Callable[[Random], File]] = []
    if "image" in modalities:
        found += [partial(random_picture, form=form) for form in PICTURES]
    if "video" in modalities:
        found += [
            partial(random_clip, codec=codec, container=container, options=options)
            for codec, container, options in CLIPS
        ]
    if "audio" in modalities:
        found += [
            partial(random_sound, codec=codec, container=container, rate=rate)
            for codec, container, rate in SOUNDS
        ]
    return found


def drawn(draw: Random, modalities: Sequence[str], count: int) -> Iterator[File]:
    """Each form once, in no order, and then again."""
    makers = forms(modalities)
    for number in range(count):
        if number % len(makers) == 0:
            draw.shuffle(makers)
        yield makers[number % len(makers)](draw)


@cache
def _kept(seed: int, modalities: tuple[str, ...], count: int) -> list[File]:
    """The same for all models that take the same: some encoders cost more than the engine."""
    return list(drawn(Random(seed), modalities, count))


def compare(llm: LLM, files: Iterator[File], line: Line) -> None:
    """Into `line`."""
    while batch := [file for _, file in zip(range(TOGETHER), files, strict=False)]:
        before, asked_for = decoded(llm), list(map(conversation, batch))
        sent = list(map(Sent, asked_for, previewed(llm, asked_for)))
        line.decoded += decoded(llm) - before
        whole = [one for one in sent if isinstance(one.told, MediaPreview) and one.told.fits]
        for one, answer in zip(whole, answered(llm, whole), strict=True):
            assert isinstance(one.told, MediaPreview)
            if isinstance(answer, RequestError):
                line.wrong.append(f"a {one.told.items[0].kind} was told to fit: {answer}")
                continue
            (item,) = one.told.items
            cost = (one.told.prompt_tokens, {item.kind: item.rows})
            usage = (len(answer.prompt_token_ids), dict(answer.metrics.media_tokens))
            left = one.told.max_model_len - one.told.prompt_tokens
            if cost == usage and one.told.max_tokens_left == left:
                line.equal += 1
            else:
                line.wrong.append(f"told {cost}, was {usage}")
        for one in sent:
            if isinstance(one.told, RequestError) or not one.told.fits:
                _not_answered(llm, one, line)


def answered(llm: LLM, whole: Sequence[Sent]) -> Sequence[RequestOutput | RequestError]:
    """All at once, or where one fails each by itself."""
    try:
        return llm.chat([one.messages for one in whole], ONE_TOKEN, use_tqdm=False)
    except RequestError:
        return [_one_answer(llm, one) for one in whole]


def _one_answer(llm: LLM, one: Sent) -> RequestOutput | RequestError:
    try:
        (answer,) = llm.chat(one.messages, ONE_TOKEN, use_tqdm=False)
    except RequestError as refusal:
        return refusal
    return answer


def _not_answered(llm: LLM, one: Sent, line: Line) -> None:
    try:
        llm.chat(one.messages, ONE_TOKEN, use_tqdm=False)
        code = "nothing"
    except RequestError as refusal:
        code = refusal.failure.code or refusal.failure.kind
    if isinstance(one.told, MediaPreview):
        line.too_long += 1
        if code == "nothing":
            line.wrong.append("told not to fit, and was answered")
        return
    told = one.told.failure.code or one.told.failure.kind
    if told == UNKNOWN:
        line.unknown += 1
    elif told == code:
        line.refused += 1
    else:
        line.wrong.append(f"told {told}, answered with {code}")


def previewed(llm: LLM, conversations: list[Messages]) -> Sequence[MediaPreview | RequestError]:
    """All at once, or where one is refused each by itself."""
    try:
        return llm.preview(conversations)
    except RequestError:
        return [_one_preview(llm, messages) for messages in conversations]


def _one_preview(llm: LLM, messages: Messages) -> MediaPreview | RequestError:
    try:
        (told,) = llm.preview(messages)
    except RequestError as refusal:
        return refusal
    return told


def conversation(file: File) -> Messages:
    name = f"{file.kind.partition('/')[0]}_url"
    part = {"type": name, name: {"url": data_url(file.kind, file.data)}}
    return [{"role": "user", "content": [part, {"type": "text", "text": "What is that?"}]}]


def decoded(llm: LLM) -> float:
    stats = llm.status().stats
    return sum(one["decoded"] for role, one in stats.items() if role.startswith("decode-worker"))


if __name__ == "__main__":
    sys.exit(main())
