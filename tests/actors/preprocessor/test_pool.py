"""The queue before the decode workers: in turn, one at a time each, and what a death costs."""

from hypothesis import given
from hypothesis import strategies as st

from thespis.actors.preprocessor.pool import DecodeTask, Pool
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode
from thespis.protocol.requests.request import Modality

from .parts import item


def task(key: str, owner: str = "r", job: int = 1, modality: Modality = "image") -> DecodeTask[str]:
    return DecodeTask(key, tuple(owner.split("/")), Decode(job, item(modality), {}, {}, ""), False)


def keys(tasks: list[DecodeTask[str]]) -> list[str]:
    return [one.key for one in tasks]


def drained(pool: Pool[str]) -> list[str]:
    """What one worker does, in order, until nothing waits."""
    order = []
    while started := pool.start():
        order += keys(started)
        pool.finish(started[0])
    return order


def test_owners_take_turns() -> None:
    pool: Pool[str] = Pool()
    for key, owner in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")):
        pool.enqueue(task(key, owner))
    pool.add_worker("w")
    assert drained(pool) == ["a1", "b1", "a2", "a3"]


def test_A3_a_flood_delays_anothers_picture_by_the_one_item_that_runs() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    for number in range(1000):
        pool.enqueue(task(f"flood{number}", f"rude/http/{number}"))
    (running,) = pool.start()
    for name in ("b", "c"):
        pool.enqueue(task(name, f"{name}/http/1"))
    pool.enqueue(task("more", "rude/http/more"))
    pool.finish(running)
    assert drained(pool)[:4] == ["b", "c", "flood1", "flood2"]


def test_A3_within_a_tenant_clients_and_requests_take_turns() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    for number in range(3):
        pool.enqueue(task(f"batch{number}", "/llm/batch"))
        pool.enqueue(task(f"album{number}", "/http/album"))
    pool.enqueue(task("one", "/http/one"))
    assert drained(pool) == ["batch0", "album0", "batch1", "one", "batch2", "album1", "album2"]


def test_A3_an_endless_flood_of_requests_starves_no_request_of_many_items() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    for number in range(4):
        pool.enqueue(task(f"album{number}", "/http/album"))
    order: list[str] = []
    for number in range(30):
        pool.enqueue(task(f"new{number}", f"/http/{number}"))
        (started,) = pool.start()
        order.append(started.key)
        pool.finish(started)
    assert [key for key in order if key.startswith("album")] == [
        f"album{number}" for number in range(4)
    ]


def test_A3_what_goes_first_does_so_within_its_tenant() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    for number in range(3):
        pool.enqueue(task(f"guide{number}", f"rude/http/{number}"), first=True)
    pool.enqueue(task("picture", "calm/http/1"))
    assert drained(pool) == ["guide2", "picture", "guide1", "guide0"]


def test_A3_slow_items_leave_a_worker_to_the_others() -> None:
    pool: Pool[str] = Pool()
    for number in range(3):
        pool.add_worker(f"w{number}")
        pool.enqueue(task(f"clip{number}", f"a/http/{number}", modality="video"))
    pool.enqueue(task("sound", "b/http/1", modality="audio"))
    started = pool.start()
    assert keys(started) == ["clip0", "sound"]
    pool.enqueue(task("picture", "a/http/9"))
    assert keys(pool.start()) == ["picture"]
    pool.finish(started[0])
    assert keys(pool.start()) == ["clip1"]
    assert pool.waiting == 1


def test_A3_one_worker_does_all() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    pool.enqueue(task("clip", modality="video"))
    assert keys(pool.start()) == ["clip"]


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 3)), max_size=40
    ),
    st.data(),
)
def test_A3_every_item_is_done_once_or_dropped(
    paths: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    waiting = [task(str(number), "/".join(map(str, path))) for number, path in enumerate(paths)]
    for one in waiting:
        pool.enqueue(one, first=data.draw(st.booleans()))
    dropped = [one for one in waiting if data.draw(st.booleans())]
    assert all(pool.drop(one) for one in dropped)
    assert pool.waiting == len(waiting) - len(dropped)
    assert sorted(drained(pool) + keys(dropped)) == sorted(keys(waiting))
    assert pool.waiting == 0


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


def test_a_death_gives_the_item_back_and_it_goes_first_of_its_tenant() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    pool.enqueue(task("a", "t/a"))
    pool.enqueue(task("b", "t/b"))
    pool.enqueue(task("c", "u/c"))
    pool.start()
    lost = pool.remove_worker("w", 3)
    assert lost is not None
    assert (lost.key, lost.ended, lost.worker) == ("a", [("w", 3)], None)
    pool.enqueue(lost, first=True)
    pool.add_worker("w")
    assert drained(pool) == ["c", "a", "b"]


def test_a_doomed_worker_gets_no_work_until_it_is_gone() -> None:
    pool: Pool[str] = Pool()
    pool.add_worker("w")
    pool.enqueue(task("a"))
    (running,) = pool.start()
    running.doomed = True
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
