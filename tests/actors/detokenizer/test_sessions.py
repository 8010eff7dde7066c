from collections import defaultdict
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.detokenizer.sessions import Replies, Sessions
from thespis.actors.detokenizer.vocabulary import Vocabulary
from thespis.protocol.edges.detokenizer_to_client import Delta, Deltas, Finished
from thespis.protocol.edges.detokenizer_to_scheduler import Stopped
from thespis.protocol.edges.gpu_runner_to_scheduler import TokenLogprobs
from thespis.protocol.edges.scheduler_to_detokenizer import (
    Close,
    Open,
    Output,
    Outputs,
    PromptLogprobs,
    Usage,
)
from thespis.protocol.edges.shared import RequestFailed
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.requests.thinking import Thinking

from .vocabularies import byte_level, id_of

BYTES = byte_level()
EOS = id_of(BYTES, "</s>")
USAGE = Usage(3, 0, {}, 0)
texts = st.text(st.sampled_from("ab stopé👋日"), max_size=30)


def sessions() -> Sessions:
    return Sessions(Vocabulary(BYTES), (EOS,))


def opened(id: str = "r", client: str = "client-a", attempt: int = 0, **sampling: object) -> Open:
    return Open(id, attempt, client, SamplingParams(**sampling), ())  # type: ignore[arg-type]


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(BYTES.encode(text).ids)


class Reader:
    """What the two receivers make of the outboxes."""

    def __init__(self) -> None:
        self.text: defaultdict[int, str] = defaultdict(str)
        self.tokens: defaultdict[int, list[int]] = defaultdict(list)
        self.ends: list[Delta] = []
        self.stopped: list[Stopped] = []
        self.finished: list[Finished] = []
        self.failed: list[RequestFailed] = []
        self.messages = 0

    def take(self, outbox: Replies) -> "Reader":
        for role, message in outbox:
            self.messages += 1
            match message:
                case Deltas(deltas):
                    for delta in deltas:
                        assert delta.offset == len(self.text[delta.choice])
                        assert delta.position == len(self.tokens[delta.choice])
                        self.text[delta.choice] += delta.text
                        self.tokens[delta.choice] += delta.token_ids
                        if delta.finish_reason is not None:
                            self.ends.append(delta)
                case Finished():
                    self.finished.append(message)
                case Stopped():
                    assert role == "scheduler"
                    self.stopped.append(message)
                case RequestFailed():
                    self.failed.append(message)
        return self


def pieces(ids: tuple[int, ...], cuts: list[int], **last: object) -> list[Output]:
    """`ids` as outputs cut at `cuts`; `last` goes into the final one."""
    edges = sorted({0, len(ids), *(cut for cut in cuts if cut < len(ids))})
    spans = list(pairwise(edges)) or [(0, 0)]
    outputs = [Output("r", 0, 0, start, ids[start:end]) for start, end in spans]
    return [*outputs[:-1], msgspec.structs.replace(outputs[-1], **last)]


@settings(deadline=None)
@given(texts, st.lists(st.integers(1, 60), max_size=8))
def test_any_split_gives_the_whole_text_and_all_tokens(text: str, cuts: list[int]) -> None:
    ids, books, reader = ids_of(text), sessions(), Reader()
    books.handle(opened(max_tokens=None))
    for output in pieces(ids, cuts, finish="length"):
        reader.take(books.handle(Outputs((output,))))
    reader.take(books.handle(Close("r", 0, USAGE, ())))
    assert (reader.text[0], tuple(reader.tokens[0])) == (text, ids)
    assert [end.finish_reason for end in reader.ends] == ["length"]
    assert [done.completion_tokens for done in reader.finished] == [len(ids)]


@settings(deadline=None)
@given(texts, texts, st.lists(st.integers(1, 80), max_size=8), st.booleans())
def test_a_stop_string_cuts_text_and_tokens_at_the_same_place_in_any_split(
    before: str, after: str, cuts: list[int], include: bool
) -> None:
    text = f"{before}stop{after}"
    ids, books, reader = ids_of(text), sessions(), Reader()
    books.handle(opened(stop="stop", include_stop_str_in_output=include))
    for output in pieces(ids, cuts):
        reader.take(books.handle(Outputs((output,))))
    shown = text[: text.index("stop") + (4 if include else 0)]
    count = next(n for n in range(len(ids) + 1) if "stop" in BYTES.decode(list(ids[:n])))
    assert (reader.text[0], tuple(reader.tokens[0])) == (shown, ids[:count])
    assert [(end.finish_reason, end.stop_reason) for end in reader.ends] == [("stop", "stop")]
    assert reader.stopped == [Stopped("r", 0, 0, count)]
    reader.take(books.handle(Close("r", 0, USAGE, ())))
    assert [done.completion_tokens for done in reader.finished] == [count]


@settings(deadline=None)
@given(texts, st.data())
def test_a_resumed_request_releases_nothing_twice(text: str, data: st.DataObject) -> None:
    ids = ids_of(text)
    known = data.draw(st.integers(0, len(ids)))
    reader = Reader()
    first = sessions()
    first.handle(opened(stop="stop"))
    for output in pieces(ids, list(range(known + 1)))[:known]:
        reader.take(first.handle(Outputs((output,))))
    if reader.ends:
        return
    second = sessions()
    second.handle(msgspec.structs.replace(opened(stop="stop"), released=(len(reader.text[0]),)))
    second_box = second.handle(Outputs((Output("r", 0, 0, 0, ids[:known], replayed=True),)))
    reader.take(second_box).take(
        second.handle(Outputs((Output("r", 0, 0, known, ids[known:], finish="length"),)))
    )
    assert reader.text[0] == text.partition("stop")[0]


def test_a_position_known_already_adds_nothing() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened())
    for start, end in ((0, 3), (0, 3), (1, 5), (0, 2)):
        reader.take(books.handle(Outputs((Output("r", 0, 0, start, ids_of("hello")[start:end]),))))
    assert reader.text[0] == "hello"


def test_a_missing_position_ends_that_request_alone() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened("r"))
    books.handle(opened("s"))
    box = books.handle(
        Outputs((Output("r", 0, 0, 2, ids_of("a")), Output("s", 0, 0, 0, ids_of("b"))))
    )
    reader.take(box)
    assert ([f.id for f in reader.failed], reader.text[0], len(books)) == (["r"], "b", 1)


def test_the_attempt_after_a_failed_one_is_welcome() -> None:
    """Its client may have begun it before it heard of the failure, which it then ignores."""
    books, reader = sessions(), Reader()
    books.handle(opened())
    reader.take(books.handle(Outputs((Output("r", 0, 0, 2, ids_of("a")),))))
    books.handle(opened(attempt=1))
    reader.take(books.handle(Outputs((Output("r", 1, 0, 0, ids_of("b")),))))
    assert ([f.attempt for f in reader.failed], reader.text[0]) == ([0], "b")


def test_the_end_token_counts_but_is_not_shown() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened(skip_special_tokens=False))
    reader.take(
        books.handle(
            Outputs((Output("r", 0, 0, 0, (*ids_of("hi"), EOS), finish="stop", stop_token=EOS),))
        )
    )
    assert (reader.text[0], reader.tokens[0][-1], reader.ends[0].stop_reason) == ("hi", EOS, None)


def test_a_stop_token_id_is_hidden_and_named() -> None:
    (token,) = ids_of("a")
    for include, shown in ((False, "b"), (True, "ba")):
        books, reader = sessions(), Reader()
        books.handle(opened(stop_token_ids=(token,), include_stop_str_in_output=include))
        reader.take(
            books.handle(
                Outputs(
                    (Output("r", 0, 0, 0, (*ids_of("b"), token), finish="stop", stop_token=token),)
                )
            )
        )
        assert (reader.text[0], reader.ends[0].stop_reason) == (shown, token)


def test_text_held_for_a_stop_string_or_a_character_is_released_at_the_end() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened(stop="stop"))
    reader.take(books.handle(Outputs((Output("r", 0, 0, 0, (*ids_of("a sto"), 0xE6)),))))
    assert (reader.text[0], len(reader.tokens[0])) == ("a ", len(ids_of("a sto")) + 1)
    reader.take(
        books.handle(Outputs((Output("r", 0, 0, len(reader.tokens[0]), (), finish="length"),)))
    )
    assert reader.text[0] == "a sto\ufffd"


def test_no_stop_string_within_min_tokens() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened(stop="a", min_tokens=2))
    reader.take(books.handle(Outputs((Output("r", 0, 0, 0, ids_of("aaaa")),))))
    assert (reader.text[0], reader.stopped[0].tokens) == ("aa", 3)


def test_finished_once_when_every_choice_has_ended_and_close_has_come() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened(n=2, stop="b"))
    reader.take(
        books.handle(
            Outputs(
                (
                    Output("r", 0, 0, 0, ids_of("ab")),
                    Output("r", 0, 1, 0, ids_of("aaa"), finish="length"),
                )
            )
        )
    )
    assert not reader.finished
    reader.take(books.handle(Outputs((Output("r", 0, 0, 2, ids_of("x"), finish="length"),))))
    for _ in range(2):
        reader.take(books.handle(Close("r", 0, USAGE, ())))
    assert [done.completion_tokens for done in reader.finished] == [5]
    assert reader.text == {0: "a", 1: "aaa"}


def test_a_close_before_the_end_fails_the_request() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened())
    reader.take(books.handle(Close("r", 0, USAGE, ())))
    assert (len(reader.failed), len(reader.finished)) == (1, 0)


def test_one_message_per_client_and_step() -> None:
    books = sessions()
    for id, client in (("r", "client-a"), ("s", "client-b"), ("t", "client-a")):
        books.handle(opened(id, client))
    box = books.handle(Outputs(tuple(Output(id, 0, 0, 0, ids_of("x")) for id in "rst")))
    assert [
        (role, len(message.deltas)) for role, message in box if isinstance(message, Deltas)
    ] == [
        ("client-a", 2),
        ("client-b", 1),
    ]


def test_attempts_replace_upwards_and_drop_downwards() -> None:
    books, reader = sessions(), Reader()
    books.handle(opened(attempt=1))
    books.handle(opened(attempt=0))
    reader.take(
        books.handle(
            Outputs((Output("r", 0, 0, 0, ids_of("old")), Output("r", 1, 0, 0, ids_of("new"))))
        )
    )
    assert (reader.text[0], books.orphans) == ("new", 1)


def test_end_leaves_a_tombstone() -> None:
    books = sessions()
    books.end(("r",))
    books.handle(opened())
    assert books.handle(Outputs((Output("r", 0, 0, 0, ids_of("x")),))) == []


def test_a_client_that_is_gone_is_written_to_no_more() -> None:
    books = sessions()
    books.handle(opened())
    books.forget_client("client-a")
    assert books.handle(Outputs((Output("r", 0, 0, 0, ids_of("x")),))) == []


def test_logprobs_carry_text_and_bytes() -> None:
    books = sessions()
    books.handle(opened(logprobs=1))
    score = TokenLogprobs(0xE6, -0.5, 2, ((0x61, -0.1), (0xE6, -0.5)))
    [(_, message)] = books.handle(Outputs((Output("r", 0, 0, 0, (0xE6,), (score,)),)))
    assert isinstance(message, Deltas)
    [entry] = message.deltas[0].logprobs
    assert (entry.chosen.decoded_token, entry.chosen.raw, entry.chosen.rank) == (
        "\ufffd",
        b"\xe6",
        2,
    )
    assert [(top.decoded_token, top.rank) for top in entry.top] == [("a", 1), ("\ufffd", 2)]


def test_prompt_scores_go_to_the_client() -> None:
    books = sessions()
    books.handle(opened())
    [(role, message)] = books.handle(PromptLogprobs("r", 0, 5, (TokenLogprobs(0x61, -1.0, 1, ()),)))
    assert isinstance(message, PromptLogprobs)
    assert (role, message.start, message.entries[0].chosen.decoded_token) == ("client-a", 5, "a")


def test_S73_tokens_of_thinking_are_counted_without_their_marks() -> None:
    open_id, close_id = id_of(BYTES, "<s>"), id_of(BYTES, "<|im_end|>")
    thinking = Thinking(open_id, close_id, "perhaps")
    thought = (open_id, *ids_of("abc"), close_id, *ids_of("de"))
    for n, (first, second) in enumerate(((thought, thought), (ids_of("ab"), thought[:3]))):
        many, reader = sessions(), Reader()
        reader.take(many.handle(opened(n=2, max_tokens=99, thinking=thinking)))
        for choice, ids in enumerate((first, second)):
            cut = len(ids) // 2
            one = Output("r", 0, choice, 0, ids[:cut])
            reader.take(many.handle(Outputs((one, one))))
            rest = Output("r", 0, choice, cut, ids[cut:], finish="length")
            reader.take(many.handle(Outputs((rest,))))
        reader.take(many.handle(Close("r", 0, USAGE, ())))
        assert reader.finished[0].reasoning_tokens == (6, 2)[n]
    many, reader = sessions(), Reader()
    reader.take(many.handle(opened()))
    reader.take(many.handle(Outputs((Output("r", 0, 0, 0, ids_of("a"), finish="stop"),))))
    reader.take(many.handle(Close("r", 0, USAGE, ())))
    assert reader.finished[0].reasoning_tokens is None
