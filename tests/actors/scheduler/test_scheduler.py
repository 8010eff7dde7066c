"""What the policy does, by example."""

import msgspec
import numpy as np
import pytest

from thespis.actors.scheduler.sequence import Place
from thespis.actors.scheduler.step import Step
from thespis.protocol.config.room import Room
from thespis.protocol.edges.client_to_scheduler import ChoiceSoFar
from thespis.protocol.edges.detokenizer_to_scheduler import Stopped
from thespis.protocol.edges.encoder_cache_to_scheduler import EncodeFailed, Lost
from thespis.protocol.edges.gpu_runner_to_scheduler import SequenceFault, StepResult
from thespis.protocol.errors import Failure
from thespis.protocol.requests.prepared import Prepared

from .bench import Bench, config, item, prepared
from .paged_model import EOS, oracle

TEXT = [5, 6, 7, 8, 9]
LONG = [2 + i % 9 for i in range(17)]


def endless(id: str, tokens: list[int] = TEXT, **options: object) -> Prepared:
    return prepared(id, tokens, ignore_eos=True, **options)  # type: ignore[arg-type]


def test_a_request_gets_the_oracles_tokens_and_is_closed() -> None:
    bench = Bench()
    request = endless("r", max_tokens=9)
    bench.submit(request)
    bench.run()
    assert bench.tokens["r", 0] == oracle(request, 0)
    assert bench.finishes["r", 0].finish == "length"
    assert bench.closed["r"].usage.prompt_tokens == 5
    bench.assert_empty()


def test_two_plans_are_in_flight_and_never_three() -> None:
    bench = Bench()
    bench.submit(endless("r"))
    first, second, third = bench.plan(), bench.plan(), bench.plan()
    assert first is not None and second is not None and third is None  # noqa: PT018
    assert [(work.start, work.count) for work in first.work + second.work] == [(0, 5), (5, 1)]
    bench.answer()
    assert bench.plan() is not None


def test_a_token_computed_past_an_end_is_dropped_and_not_shared() -> None:
    bench = Bench(config(block_size=1))
    request = next(
        r for n in range(200) if EOS in oracle(r := prepared("r", [3, n], max_tokens=20), 0)
    )
    bench.submit(request)
    bench.run()
    output = bench.tokens["r", 0]
    assert output == oracle(request, 0)
    assert bench.finishes["r", 0].stop_token == EOS
    computed = sum(work.count for plan in bench.log for work in plan.work)
    assert computed == len(request.token_ids) + len(
        output
    )  # one more than the tokens that are needed
    longer = [*request.token_ids, *output, 5]
    bench.submit(prepared("again", longer))
    assert bench.policy.tally.prefix_hit_tokens == 0
    bench.plan()
    assert bench.policy.tally.prefix_hit_tokens == len(request.token_ids) + len(output) - 1


def test_max_tokens_is_never_planned_beyond() -> None:
    bench = Bench()
    bench.submit(endless("r", max_tokens=3))
    bench.run()
    assert sum(work.sample for plan in bench.log for work in plan.work) == 3


def test_a_second_identical_prompt_computes_only_its_last_token() -> None:
    bench = Bench()
    bench.submit(endless("one", LONG[:16]))
    bench.run()
    before = bench.policy.tally.prompt_tokens_computed
    bench.submit(endless("two", LONG[:16]))
    bench.run()
    assert bench.policy.tally.prompt_tokens_computed - before == 1
    assert bench.closed["two"].usage.cached_tokens == 15
    assert bench.tokens["one", 0] == bench.tokens["two", 0]


def test_a_chat_goes_on_from_where_its_last_answer_ended_within_a_block() -> None:
    bench = Bench()
    bench.submit(endless("one", LONG[:9], max_tokens=6))
    bench.run()
    asked = [*LONG[:9], *bench.tokens["one", 0]]
    for turn, said in (("two", [7, 7, 7]), ("three", [7, 5, 4])):
        request = prepared(turn, [*asked, *said])
        bench.submit(request)
        bench.run()
        assert bench.tokens[turn, 0] == oracle(request, 0)
    assert bench.closed["two"].usage.cached_tokens == len(asked) - 1, "the last is no input yet"
    assert bench.closed["three"].usage.cached_tokens == len(asked) + 1
    bench.assert_empty()


def test_a_known_picture_that_ends_within_a_block_is_not_asked_for() -> None:
    """Its embedding may have gone from the store."""
    tokens = [3, 3, *[0] * 7, 4]
    bench = Bench()
    for name, question in (("one", [5, 6, 7, 8, 9]), ("two", [6, 5, 5])):
        request = prepared(name, [*tokens, *question], (item("cat", 2, 7),))
        bench.submit(request)
        bench.run()
        assert bench.tokens[name, 0] == oracle(request, 0)
    assert bench.closed["two"].usage.cached_tokens == len(tokens)
    assert not any(embed.start for embed in bench.log[-1].embeds)
    assert bench.policy.tally.prompt_tokens_computed == 15 + 3
    bench.assert_empty()


def test_a_block_that_is_copied_may_be_the_one_that_makes_room() -> None:
    """The pool is as large as one sequence."""
    bench = Bench(config(num_blocks=4))
    for name, last in (("one", 5), ("two", 6), ("three", 7)):
        request = prepared(name, [*LONG[:6], last], max_tokens=6)
        bench.submit(request)
        bench.run()
        assert bench.tokens[name, 0] == oracle(request, 0)
        bench.check_blocks()
    assert bench.closed["three"].usage.cached_tokens == 6
    bench.assert_empty()


def test_nothing_of_a_sequence_that_failed_or_was_given_up_is_copied() -> None:
    bench = Bench()
    bench.submit(endless("one", LONG[:6]))
    bench.plan()
    bench.answer()
    bench.policy.end(["one"])
    bench.run()
    assert _hit_of(bench, prepared("two", LONG[:6])) == 4


@pytest.mark.parametrize("difference", ["item", "tenant", "place"])
def test_equal_token_ids_of_different_content_share_nothing(difference: str) -> None:
    tokens = [0] * 8 + [5]
    other = (
        item("dog", 0, 4)
        if difference == "item"
        else item("cat", 1 if difference == "place" else 0, 4)
    )
    bench = Bench()
    bench.submit(prepared("one", tokens, (item("cat", 0, 4),)))
    bench.run()
    bench.submit(
        prepared("two", tokens, (other,), tenant="other" if difference == "tenant" else "")
    )
    bench.run()
    assert bench.policy.tally.prefix_hit_tokens == 0


@pytest.mark.parametrize("planes", [3, 4])
def test_equal_tokens_at_other_rotary_positions_share_nothing_from_there_on(planes: int) -> None:
    """Positions of as many planes as the model has: the last plane of the last block but one
    differs."""
    tokens = LONG[:16]
    positions = np.tile(np.arange(len(tokens), dtype="<i4"), (planes, 1))
    bench = Bench()
    for name in ("one", "two"):
        bench.submit(msgspec.structs.replace(prepared(name, tokens), positions=positions.tobytes()))
        bench.run()
        positions[-1, 8] += 1
    assert bench.closed["two"].usage.cached_tokens == 8


@pytest.mark.parametrize(
    ("lengths", "shared"), [((12, 15), 12), ((12, 17), 0), ((17, 16), 0), ((17, 17), 16)]
)
def test_prompts_that_are_turned_by_their_length_share_with_that_length_alone(
    lengths: tuple[int, int], shared: int
) -> None:
    """Sixteen tokens and less are turned alike."""
    bench = Bench(config(rope_bound=16))
    for name, length in zip(("one", "two"), lengths, strict=True):
        bench.submit(prepared(name, LONG[:length]))
        bench.run()
    assert bench.closed["two"].usage.cached_tokens == shared


def test_the_prefix_cache_can_be_switched_off() -> None:
    bench = Bench(config(prefix_caching=False))
    for id in ("one", "two"):
        bench.submit(endless(id, LONG))
        bench.run()
    assert bench.policy.tally.prompt_tokens_computed == 2 * len(LONG)


def test_prompt_scores_come_once_before_the_first_output_and_do_not_read_the_cache() -> None:
    bench = Bench()
    bench.submit(endless("one", LONG))
    bench.run()
    bench.submit(endless("two", LONG, prompt_logprobs=0, n=2))
    bench.run()
    assert [entry.token_id for entry in bench.scores["two"]] == LONG[1:]
    assert bench.closed["two"].usage.cached_tokens == 0


def test_texts_that_the_runner_does_not_read_are_not_sent_to_it() -> None:
    """Each choice would bring a thousand stop strings, between two tokens of everybody."""
    bench = Bench()
    bench.submit(endless("r", n=3, stop=("x",) * 1000, bad_words=("y",), bad_words_ids=((7,),)))
    bench.run()
    newcomers = [new for plan in bench.log for new in plan.new]
    assert len(newcomers) == 3
    assert all(new.sampling.stop == new.sampling.bad_words == () for new in newcomers)
    assert all(new.sampling.bad_words_ids == ((7,),) for new in newcomers)
    assert len(bench.opened[0].sampling.stop) == 1000


def test_prompt_scores_are_told_as_they_come_and_to_a_new_detokenizer_again() -> None:
    bench = Bench(config(max_batched_tokens=16))
    bench.submit(endless("r", 3 * LONG, prompt_logprobs=0))
    told = []
    for _ in range(3):
        bench.plan()
        bench.answer()
        told.append([entry.token_id for entry in bench.scores.get("r", ())])
    assert 0 < len(told[0]) < len(told[1]) < len(told[2])
    assert told[2] == (3 * LONG)[1 : 1 + len(told[2])]
    bench.scores.clear()
    bench.opened.clear()
    bench.policy.telling.begin()
    bench.deliver()
    assert [entry.token_id for entry in bench.scores["r"]] == told[-1]


def test_prompt_scores_come_even_where_the_last_chunk_has_none() -> None:
    bench = Bench(config(max_batched_tokens=16))
    bench.submit(
        prepared("r", LONG, prompt_logprobs=0), prepared("one", [5], prompt_logprobs=0, arrival=1.0)
    )
    bench.run()
    assert len(bench.scores["r"]) == 16
    assert bench.scores["one"] == []


def test_choices_share_the_prompt_of_the_first() -> None:
    bench = Bench()
    request = endless("r", LONG, n=3)
    bench.submit(request)
    bench.run()
    assert bench.policy.tally.prompt_tokens_computed == len(LONG) + 2
    assert [bench.tokens["r", choice] for choice in range(3)] == [
        oracle(request, choice) for choice in range(3)
    ]


def test_decoding_comes_before_prompts_and_prompts_come_in_chunks() -> None:
    bench = Bench(config(max_batched_tokens=8))
    bench.submit(endless("old", max_tokens=20))
    bench.plan()
    bench.answer()
    bench.submit(endless("new", LONG))
    plan = bench.plan()
    assert plan is not None
    assert [(work.count, work.sample) for work in plan.work] == [(1, True), (7, False)]


def test_priority_comes_before_arrival() -> None:
    bench = Bench(config(max_num_seqs=1))
    bench.submit(
        endless("late", arrival=2.0),
        endless("early", arrival=1.0),
        endless("vip", arrival=3.0, priority=-1),
    )
    bench.run()
    assert list(bench.closed) == ["vip", "early", "late"]


def test_the_youngest_is_preempted_and_loses_no_token() -> None:
    bench = Bench(config(num_blocks=9, prefix_caching=False))
    requests = [endless(f"r{i}", LONG[i:][:6], arrival=float(i), max_tokens=16) for i in range(4)]
    bench.submit(*requests)
    bench.run()
    assert bench.policy.tally.preemptions > 0
    assert bench.closed["r0"].usage.preemptions == 0
    assert all(bench.tokens[r.id, 0] == oracle(r, 0) for r in requests)
    bench.assert_empty()


def test_who_is_preempted_in_a_step_that_was_to_compute_its_token_is_taken_out_of_it() -> None:
    """Windows get blocks by and by: a prompt that lacks some takes them of a younger one, which has
    its token in the step."""
    settings = config(
        windows=(6,), block_size=2, room=Room((10,), 0), max_batched_tokens=8, prefix_caching=False
    )
    bench = Bench(settings)
    young, old = endless("young", max_tokens=12, priority=1), endless("old", LONG, max_tokens=2)
    bench.submit(young)
    bench.plan()
    bench.answer()
    (seq,) = bench.policy.batch.running
    bench.submit(old)
    number = seq.number
    while seq.place is Place.RUNNING:
        plan = bench.plan()
        bench.answer()
    assert plan is not None
    assert bench.policy.tally.preemptions == 1
    assert number in plan.drop
    assert [work.count for work in plan.work] == [7], (
        "the prompt alone, which was cut to what the token had left"
    )
    assert (seq.flights, seq.pending, seq.planned) == (0, 0, 0)
    bench.run()
    for request in (young, old):
        assert bench.tokens[request.id, 0] == oracle(request, 0)
    bench.assert_empty()


def test_a_token_that_is_taken_back_leaves_no_trace_in_the_step() -> None:
    bench = Bench()
    bench.submit(endless("one"), endless("other"))
    bench.plan()
    bench.answer()
    one, other = bench.policy.batch.running
    step, alone = Step(8), Step(8)
    before = other.planned, other.flights, other.pending
    for seq in (one, other):
        step.add(seq, 1, True, 0.1)
    step.withdraw(other)
    assert (other.planned, other.flights, other.pending) == before
    assert (one.planned, one.flights, one.pending) == (before[0] + 1, before[1] + 1, before[2] + 1)
    step.withdraw(other)  # it has none any more
    assert step.budget == 7
    assert [(part.seq, part.work.seq) for part in step.parts] == [(one, one.number)]
    step.withdraw(one)
    assert (step.budget, step.parts) == (alone.budget, alone.parts)


def test_a_prompt_is_prefilled_up_to_the_first_item_that_is_not_ready() -> None:
    bench = Bench(encoder=False)
    request = prepared("r", [5, 6, 7, 0, 0, 0, 8], (item("cat", 3, 3),))
    bench.submit(request)
    plan = bench.plan()
    assert plan is not None
    assert [(work.start, work.count) for work in plan.work] == [(0, 3)]
    assert bench.plan() is None
    bench.answer()
    bench.give_all()
    bench.run()
    assert bench.tokens["r", 0] == oracle(request, 0)
    assert {timing.stage for timing in bench.closed["r"].timings} == {
        "queue",
        "encode wait",
        "prefill",
        "decode",
    }


@pytest.mark.parametrize(("before", "begins"), [(3, False), (4, True)])
def test_a_few_tokens_before_an_item_wait_for_it(before: int, begins: bool) -> None:
    """A step of their own takes the cores that encode it; of 32 tokens, less than a least chunk."""
    bench = Bench(config(max_batched_tokens=32), encoder=False)
    request = prepared("r", [5] * before + [0, 0, 0, 8], (item("cat", before, 3),))
    bench.submit(request)
    plan = bench.plan()
    assert (plan is not None) is begins
    if begins:
        bench.answer()
    bench.give_all()
    bench.run()
    assert [work.count for plan in bench.log for work in plan.work if work.count > 1] == (
        [4, 4] if begins else [before + 4]
    )
    assert bench.tokens["r", 0] == oracle(request, 0)


def test_text_passes_by_a_request_that_waits_for_its_picture() -> None:
    bench = Bench(encoder=False)
    bench.submit(
        prepared("picture", [0, 0, 5], (item("cat", 0, 2),)), prepared("text", TEXT, arrival=1.0)
    )
    bench.run()
    assert list(bench.closed) == ["text"]


def test_items_that_a_prefix_hit_covers_are_not_asked_for() -> None:
    bench = Bench()
    tokens, items = [0] * 4 + TEXT, (item("cat", 0, 4),)
    for id in ("one", "two"):
        bench.submit(prepared(id, tokens, items))
        bench.run()
    assert [need.holder.split(".")[0] for need in bench.all_needs] == ["one"]


def test_embeddings_are_given_back_when_their_step_has_been_answered() -> None:
    bench = Bench(encoder=False)
    bench.submit(prepared("r", [0, 0, 0, 5], (item("cat", 0, 3),)))
    bench.plan()
    bench.give_all()
    bench.plan()
    bench.plan()
    assert bench.needs
    bench.answer()
    assert not bench.needs


@pytest.mark.parametrize(("window", "cached"), [(17, 16), (16, 0)])
def test_a_prompt_that_sees_itself_both_ways_is_found_again_within_its_windows(
    window: int, cached: int
) -> None:
    """Of a longer one, the windows have let go of what the rest of it looks at."""
    bench = Bench(config(windows=(None, window), max_batched_tokens=32))
    first, again = (
        prepared(id, LONG, unbroken=((0, 17),), max_tokens=2) for id in ("first", "again")
    )
    bench.submit(first)
    bench.run()
    bench.submit(again)
    bench.run()
    assert bench.closed["again"].usage.cached_tokens == cached
    assert bench.tokens["again", 0] == oracle(again, 0)
    bench.assert_empty()


def test_a_span_that_must_stay_whole_is_not_cut_and_not_starved() -> None:
    bench = Bench(config(max_batched_tokens=8))
    bench.submit(*[endless(f"t{i}", [2 + i], max_tokens=30, arrival=float(i)) for i in range(3)])
    for _ in range(3):
        bench.plan()
        bench.answer()
    owl = prepared("owl", [0] * 7 + [5], (item("owl", 0, 7),), unbroken=((0, 7),), arrival=9.0)
    bench.submit(owl)
    seen = len(bench.log)
    for _ in range(4):
        bench.plan()
        bench.answer()
    spans = [embed for plan in bench.log[seen:] for embed in plan.embeds]
    assert [(embed.start, embed.count) for embed in spans] == [(0, 7)]


def test_who_decodes_goes_on_where_a_stretch_that_takes_a_whole_step_lacks_blocks() -> None:
    """While nothing is in flight nobody asks again for a plan that was none."""
    bench = Bench(config(max_batched_tokens=8, num_blocks=5))
    bench.submit(endless("text", [5] * 8, max_tokens=8))
    for _ in range(3):
        bench.plan()
        bench.answer()
    bench.submit(prepared("whole", [5] * 8, unbroken=((0, 8),), arrival=9.0))
    while len(bench.closed) < 2:
        assert bench.plan() is not None
        bench.answer()


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "changes", "numbers"),
    [
        (60, 5, {}, ("60", "5", "65", "64")),
        (30, 8, {"num_blocks": 9}, ("30", "8", "38", "33")),
        (64, None, {}, ("64", "1", "65")),
    ],
)
def test_what_can_never_fit_is_refused_at_the_door(
    tokens: int, max_tokens: int | None, changes: dict[str, int], numbers: tuple[str, ...]
) -> None:
    bench = Bench(config(**changes))
    bench.submit(prepared("r", [5] * tokens, max_tokens=max_tokens))
    failure = bench.rejected["r"].failure
    assert (failure.kind, failure.code) == ("invalid_request", "context_length_exceeded")
    assert all(number in failure.text for number in numbers)
    assert not bench.opened


def test_media_that_can_never_fit_are_refused_at_the_door() -> None:
    bench = Bench(config(store_bytes=8))
    bench.submit(prepared("r", [0, 0, 0, 5], (item("cat", 0, 3),)))
    assert bench.rejected["r"].failure.code == "media_too_large"
    whole = Bench(config(max_batched_tokens=4))
    whole.submit(prepared("r", [0] * 5 + [5], (item("owl", 0, 5),), unbroken=((0, 5),)))
    assert whole.rejected["r"].failure.code == "media_too_large"


def test_a_request_that_exactly_fits_runs() -> None:
    bench = Bench(config(num_blocks=9))
    bench.submit(endless("r", [5] * 30, max_tokens=3))
    bench.run()
    assert len(bench.tokens["r", 0]) == 3


def test_a_stop_string_ends_a_choice_and_the_request_closes() -> None:
    bench = Bench()
    bench.submit(endless("r", max_tokens=30))
    for _ in range(4):
        bench.plan()
        bench.answer()
    bench.policy.stopped(Stopped("r", 0, 0, 2))
    bench.run()
    assert "r" in bench.closed
    assert len(bench.policy.requests["r"].sequences[0].output) == 2
    bench.assert_empty()


def test_an_ended_request_is_a_tombstone_for_late_work() -> None:
    bench = Bench()
    bench.policy.end(["r"])
    bench.submit(prepared("r", TEXT))
    assert not bench.opened


def test_a_higher_attempt_replaces_a_lower_one() -> None:
    bench = Bench()
    bench.submit(
        prepared("r", TEXT, attempt=1), prepared("r", TEXT), prepared("r", TEXT, attempt=2)
    )
    assert [opened.attempt for opened in bench.opened] == [1, 2]
    bench.run()
    assert bench.closed["r"].attempt == 2


def test_a_fault_of_one_sequence_ends_one_request() -> None:
    bench = Bench()
    bench.submit(endless("bad"), endless("good"))
    plan = bench.plan()
    assert plan is not None
    result = bench.model.run(plan)
    bad = plan.work[0].seq
    bench.plans.clear()
    kept = tuple(entry for entry in result.sampled if entry.seq != bad)
    bench.policy.apply(StepResult(plan.step, kept, faults=(SequenceFault(bad, "nan"),)), 1.0)
    bench.run()
    assert bench.rejected["bad"].failure.kind == "internal"
    assert list(bench.closed) == ["good"]
    bench.assert_empty()


@pytest.mark.parametrize("readable", [0, 1])
def test_a_step_whose_embeddings_died_is_computed_anew(readable: int) -> None:
    bench = Bench(config(max_batched_tokens=4))
    request = prepared(
        "r", [0, 0, 0, 5, 6, 0, 0, 7], (item("cat", 0, 3), item("dog", 5, 2)), ignore_eos=True
    )
    bench.submit(request, endless("text", [5], arrival=1.0))
    assert bench.plan() is not None
    assert bench.plan() is not None
    bench.lose_encoder(readable)
    bench.run()
    assert not bench.rejected
    assert bench.tokens["r", 0] == oracle(request, 0)
    assert [bench.closed[id].usage.preemptions for id in ("r", "text")] == [1, 0]
    assert bench.policy.tally.faults == 0
    bench.assert_empty()


def test_a_fault_of_its_own_comes_again_and_ends_the_request() -> None:
    """Where an encoder has died meanwhile, it first looks like one for want of an embedding."""
    bench = Bench()
    bench.submit(prepared("r", [0, 0, 5], (item("cat", 0, 2),)))
    for died in (True, False):
        while (plan := bench.plan()) is None or not plan.embeds:
            bench.answer()
        bench.unreadable.add(plan.step)
        if died:
            bench.lose_encoder()
        assert "r" not in bench.rejected
        bench.answer()
    assert "r" in bench.rejected


def test_a_lost_item_sends_the_request_back_and_a_failed_one_ends_it() -> None:
    bench = Bench(encoder=False)
    bench.submit(*[prepared(id, [0, 5], (item(id, 0, 1),)) for id in ("cat", "dog")])
    bench.plan()
    cat, dog = sorted(bench.needs)
    bench.policy.lost(Lost("cat", (cat,)))
    bench.policy.encode_failed(EncodeFailed("dog", (dog,), Failure("too_large", "no")))
    bench.deliver()
    assert [(lost.id, lost.keys) for lost in bench.lost] == [("cat", ("cat",))]
    assert bench.rejected["dog"].failure.kind == "too_large"
    bench.assert_empty()


def test_a_resume_goes_on_where_the_client_is() -> None:
    bench = Bench()
    request = endless("r", n=2, max_tokens=8)
    answers = [oracle(request, choice) for choice in range(2)]
    had = (ChoiceSoFar(tuple(answers[0]), 20, True), ChoiceSoFar(tuple(answers[1][:3]), 2, False))
    bench.policy.submit(request, 0.0, had)
    bench.run()
    assert bench.opened[0].released == (20, 2)
    assert [bench.tokens["r", choice] for choice in range(2)] == answers
    assert bench.policy.tally.generated_tokens == 5
    assert "r" in bench.closed


def test_a_resume_brings_the_prompt_scores_that_the_first_choice_still_owed() -> None:
    """The second choice may begin with cached blocks while the first waits for its picture."""
    bench = Bench()
    request = endless("r", LONG, n=2, prompt_logprobs=0)
    answer = tuple(oracle(request, 1)[:2])
    bench.policy.submit(request, 0.0, (ChoiceSoFar((), 0, False), ChoiceSoFar(answer, 2, False)))
    bench.run()
    assert [entry.token_id for entry in bench.scores["r"]] == LONG[1:]
    told = Bench()
    told.policy.submit(
        request,
        0.0,
        (ChoiceSoFar(tuple(oracle(request, 0)[:1]), 1, False), ChoiceSoFar((), 0, False)),
    )
    told.run()
    assert not told.scores


def test_a_new_detokenizer_is_told_everything_that_was_not_acknowledged() -> None:
    bench = Bench()
    done, acknowledged, running = (
        endless("done"),
        endless("acknowledged"),
        endless("running", max_tokens=20),
    )
    bench.submit(done, acknowledged)
    bench.run()
    bench.submit(running)
    for _ in range(3):
        bench.plan()
        bench.answer()
    bench.policy.acknowledge(["acknowledged"])
    for book in (bench.tokens, bench.finishes, bench.closed, bench.opened):
        book.clear()
    bench.policy.telling.begin()
    bench.deliver()
    assert [opened.id for opened in bench.opened] == ["done", "running"]
    assert list(bench.closed) == ["done"]
    bench.run()
    assert bench.tokens == {("done", 0): oracle(done, 0), ("running", 0): oracle(running, 0)}


def test_closed_requests_are_forgotten_when_they_are_acknowledged() -> None:
    bench = Bench()
    bench.submit(prepared("r", TEXT))
    bench.policy.acknowledge(["r"])
    assert "r" in bench.policy.requests
    bench.run()
    bench.policy.acknowledge(["r"])
    assert not bench.policy.requests


def test_embeddings_that_wait_for_blocks_give_way_to_those_that_have_blocks() -> None:
    """`old` has the blocks and waits for room in the store; `new` has the room and waits for
    blocks."""
    bench = Bench(
        config(num_blocks=9, store_bytes=8, max_batched_tokens=8, prefix_caching=False),
        encoder=False,
    )
    bench.submit(prepared("new", [5] * 20 + [0, 0, 5], (item("cat", 20, 2),), arrival=2.0))
    bench.policy.planner.ask_ahead(0.0, idle=True)
    bench.deliver()
    bench.give_all()
    bench.submit(prepared("old", [5] * 20 + [0, 0, 6], (item("dog", 20, 2),), arrival=1.0))
    for _ in range(4):
        bench.plan()
        bench.answer()
    assert [need.holder.split(".")[0] for need in bench.needs.values()] == ["old"]
    bench.encoder = True
    bench.deliver()
    bench.run()
    assert list(bench.closed) == ["old", "new"]


def test_who_gave_way_asks_again_when_the_other_has_gone() -> None:
    bench = Bench(
        config(num_blocks=9, store_bytes=8, max_batched_tokens=8, prefix_caching=False),
        encoder=False,
    )
    bench.submit(prepared("new", [5] * 20 + [0, 0, 5], (item("cat", 20, 2),), arrival=2.0))
    bench.policy.planner.ask_ahead(0.0, idle=True)
    bench.deliver()
    bench.give_all()
    bench.submit(prepared("old", [5] * 20 + [0, 0, 6], (item("dog", 20, 2),), arrival=1.0))
    for _ in range(4):
        bench.plan()
        bench.answer()
    bench.policy.end(["old"])
    bench.deliver()
    bench.encoder = True
    bench.run()
    assert list(bench.closed) == ["new"]


def test_a_second_item_that_fails_finds_its_request_already_ended() -> None:
    bench = Bench(encoder=False)
    bench.submit(prepared("two", [5, 5, 0, 0], (item("cat", 2, 1), item("dog", 3, 1))))
    assert (
        bench.plan() is not None
    )  # a step of it is under way when the answers come, so that it cannot leave yet
    (holder,) = bench.needs
    for key in ("cat", "dog"):
        bench.policy.encode_failed(EncodeFailed(key, (holder,), Failure("too_large", "no")))
    bench.deliver()
    assert bench.rejected["two"].failure.kind == "too_large"


def _hit_of(bench: Bench, request: Prepared) -> int:
    """Tokens of its prompt that were in the prefix cache."""
    before = bench.policy.tally.prefix_hit_tokens
    bench.submit(request)
    bench.plan()
    return bench.policy.tally.prefix_hit_tokens - before


def test_B14_a_beginning_computed_before_a_reset_is_not_found_and_one_computed_after_is() -> None:
    bench = Bench()
    bench.submit(prepared("one", LONG[:16], max_tokens=2))
    bench.run()
    bench.policy.batch.forget_prefixes()
    assert _hit_of(bench, prepared("two", LONG[:16], max_tokens=2)) == 0
    bench.run()
    assert _hit_of(bench, prepared("three", LONG[:16], max_tokens=2)) == 15
    bench.run()
    bench.assert_empty()


def test_B14_what_runs_at_a_reset_keeps_its_blocks_and_shares_none_later() -> None:
    bench = Bench()
    bench.submit(prepared("old", LONG[:8], max_tokens=20))
    for _ in range(4):
        bench.plan()
        bench.answer()
    bench.policy.batch.forget_prefixes()
    bench.check_blocks()
    bench.run()
    answer = bench.tokens["old", 0]
    assert answer == oracle(prepared("old", LONG[:8], max_tokens=20), 0)
    bench.submit(
        prepared("new", LONG[:8], max_tokens=1)
    )  # computes the beginning anew, for the next
    bench.run()
    assert _hit_of(bench, prepared("longer", [*LONG[:8], *answer], max_tokens=1)) == 8
    bench.run()
    bench.assert_empty()
