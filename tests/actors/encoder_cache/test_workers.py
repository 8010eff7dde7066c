"""Who of the encode workers has what, and how the queue is divided among those that rest."""

from thespis.actors.encoder_cache.batching import Job, choose, part
from thespis.actors.encoder_cache.workers import MOST_SUSPECTS, Workers
from thespis.protocol.edges.encoder_cache_to_encode_worker import epoch_of
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features
from thespis.protocol.requests.request import Modality

ONE, TWO = "encode-worker-1", "encode-worker-2"


def job(key: str, rows: int = 4, ready: bool = False, modality: Modality = "image") -> Job:
    return Job(key, rows, Features("r", "client-a.0", key, modality, rows, {}, ready))


def test_one_that_has_joined_rests_until_it_is_given_something() -> None:
    workers = Workers(3)
    assert (workers.count, workers.busy, workers.resting) == (0, 0, [])
    workers.joined(ONE)
    workers.joined(TWO)
    number = workers.give(ONE, [job("a")])
    assert (workers.count, workers.busy, workers.resting) == (2, 1, [TWO])
    assert epoch_of(number) == 3
    assert workers.give(TWO, [job("b")]) > number
    assert workers.answered(ONE, number) == (job("a"),)
    assert workers.resting == [ONE]


def test_an_answer_to_nothing_that_was_asked_changes_nothing() -> None:
    workers = Workers(1)
    workers.joined(ONE)
    number = workers.give(ONE, [job("a")])
    for role, what in ((ONE, number + 1), (TWO, number), ("nobody", 0)):
        assert workers.answered(role, what) is None
        assert workers.keep_only(role, what, lambda job: True) is None
    assert workers.busy == 1
    assert workers.answered(ONE, number) is not None
    assert workers.answered(ONE, number) is None


def test_what_is_not_whole_leaves_its_batch() -> None:
    workers = Workers(1)
    workers.joined(ONE)
    number = workers.give(ONE, [job("a"), job("b"), job("c")])
    assert workers.keep_only(ONE, number, lambda job: job.key != "b") == (0, 2)
    assert workers.answered(ONE, number) == (job("a"), job("c"))


def test_what_one_died_with_no_other_gets_until_it_has_been_encoded() -> None:
    workers = Workers(1)
    workers.joined(ONE)
    workers.give(ONE, [job("a"), job("b")])
    assert workers.gone(ONE) == (job("a"), job("b"))
    assert workers.gone(ONE) == ()
    assert workers.count == 0
    assert not workers.may_have(job("a"))
    assert workers.may_have(job("c"))
    workers.clear("a")
    assert workers.may_have(job("a"))
    assert not workers.may_have(job("d", ready=True)), "that is only read"


def test_no_flood_of_deaths_is_remembered_without_end() -> None:
    workers = Workers(1)
    for number in range(MOST_SUSPECTS + 10):
        workers.suspect(job(str(number)))
    assert workers.may_have(job("9"))
    assert not workers.may_have(job("10"))


def test_a_queue_is_divided_among_those_that_rest() -> None:
    queue = [job(key) for key in "abcde"]
    taken: list[list[str]] = []
    for encoders in (3, 2, 1):
        batch = choose(queue, part(queue, encoders))
        taken.append([one.key for one in batch])
        queue = queue[len(batch) :]
    assert taken == [["a"], ["b", "c"], ["d", "e"]]


def test_a_part_counts_what_is_of_its_kind_and_what_is_ready_is_read_at_once() -> None:
    mixed = [job("a"), job("s", 100, modality="audio"), job("b")]
    assert part(mixed, 2) == 4
    assert part([job("a", ready=True), job("b", ready=True), job("c")], 2) == 8
    assert part([job("a", 5)], 2) == 3, "and an item is never cut"
    assert choose([job("a", 5)], 3) == [job("a", 5)]
