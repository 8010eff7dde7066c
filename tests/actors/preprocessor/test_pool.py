"""The queue before the decode workers: in turn, one at a time each, and what a death costs."""

from thespis.actors.preprocessor.pool import DecodeTask, Pool
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode

from .parts import item


def task(key: str, owner: str = "r", job: int = 1) -> DecodeTask[str]:
    return DecodeTask(key, owner, Decode(job, item(), {}, {}, ""), False)


def keys(tasks: list[DecodeTask[str]]) -> list[str]:
    return [one.key for one in tasks]


def test_owners_take_turns() -> None:
    pool: Pool[str] = Pool()
    for key, owner in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")):
        pool.enqueue(task(key, owner))
    pool.add_worker("w")
    order = []
    while started := pool.start():
        order += keys(started)
        pool.finish(started[0])
    assert order == ["a1", "b1", "a2", "a3"]


def test_a_worker_has_one_item_at_a_time() -> None:
    pool: Pool[str] = Pool()
    for number in range(3):
        pool.enqueue(task(f"k{number}", job=number))
    pool.add_worker("w0")
    pool.add_worker("w1")
    started = pool.start()
    assert [(one.key, one.worker) for one in started] == [("k0", "w0"), ("k1", "w1")]
    assert pool.start() == []
    assert (pool.waiting, pool.running) == (1, 2)
    assert pool.by_job("w1", 1) is started[1]
    assert pool.by_job("w1", 0) is None
    pool.finish(started[1])
    assert keys(pool.start()) == ["k2"]


def test_a_death_gives_the_item_back_and_it_goes_first() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    pool.enqueue(task("a", "a"))
    pool.enqueue(task("b", "b"))
    pool.start()
    lost = pool.remove_worker("w", 3)
    assert lost is not None
    assert (lost.key, lost.ended, lost.worker) == ("a", [("w", 3)], None)
    pool.enqueue(lost, first=True)
    pool.add_worker("w")
    assert keys(pool.start()) == ["a"]


def test_a_doomed_worker_gets_no_work_until_it_is_gone() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    pool.enqueue(task("a"))
    (running,) = pool.start()
    pool.doom(running)
    pool.finish(running)
    pool.enqueue(task("b"))
    assert pool.start() == []
    assert pool.remove_worker("w", 3) is running
    pool.add_worker("w")
    assert keys(pool.start()) == ["b"]


def test_dropping_what_waits_and_what_runs() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    running, waiting = task("a"), task("b")
    pool.enqueue(running)
    pool.enqueue(waiting)
    pool.start()
    assert not pool.drop(running)
    assert pool.drop(waiting)
    assert pool.waiting == 0
    assert pool.task("b") is None
    assert pool.task("a") is running
