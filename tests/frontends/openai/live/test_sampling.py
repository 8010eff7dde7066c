"""One sampling for all who watch, none while nobody does."""

import asyncio

import pytest

from thespis.frontends.openai.live import sampling as module
from thespis.frontends.openai.live.sampling import MOST_WATCHERS, Sampling
from thespis.protocol.errors import RequestError


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, period: float = 0.02) -> None:
        monkeypatch.setattr(module, "PERIOD", period)
        monkeypatch.setattr(module, "SOONEST", 0.005)
        self.looks = 0
        self.soon = False
        self.watched: list[bool] = []
        self.fault: Exception | None = None
        self.sampling = Sampling(self._look, self.watched.append)

    async def _look(self) -> tuple[bytes, bool]:
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        return b"data: %d\n\n" % self.looks, self.soon


async def test_all_who_watch_share_one_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    with bench.sampling.watching(), bench.sampling.watching():
        told = await asyncio.gather(*(bench.sampling.after(0) for _ in range(2)))
        assert told == [(1, b"data: 1\n\n")] * 2
        assert await bench.sampling.after(1) == (2, b"data: 2\n\n")
    assert bench.watched == [True, False]


async def test_nothing_is_looked_at_while_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    await asyncio.sleep(0.05)
    assert bench.looks == 0
    with bench.sampling.watching():
        await bench.sampling.after(0)
    looks = bench.looks
    await asyncio.sleep(0.05)
    assert bench.looks == looks
    # who comes later is told of now, not of then
    with bench.sampling.watching():
        told = await bench.sampling.after(0)
        assert told is not None
        assert told[1] == b"data: %d\n\n" % (looks + 1)


async def test_who_is_slow_misses_some_and_is_kept_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    with bench.sampling.watching():
        number = 0
        while bench.looks < 5:
            await asyncio.sleep(0.01)
        told = await bench.sampling.after(number)
        assert told is not None
        assert told[0] == bench.looks >= 5


async def test_a_death_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, period=60.0)
    with bench.sampling.watching():
        await bench.sampling.after(0)
        bench.sampling.hurry()
        bench.soon = True
        assert await bench.sampling.after(1) == (2, b"data: 2\n\n")
        assert await bench.sampling.after(2) == (3, b"data: 3\n\n")  # it wanted one more


async def test_a_look_that_fails_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(monkeypatch)
    bench.fault = ValueError("unforeseen")
    with bench.sampling.watching():
        while bench.looks < 3:
            await asyncio.sleep(0.01)
        bench.fault = None
        assert await bench.sampling.after(0) is not None
    assert [record.message for record in caplog.records] == ["no snapshot could be made"]


async def test_the_end_is_told_to_who_waits_and_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, period=60.0)
    with bench.sampling.watching():
        told = await bench.sampling.after(0)
        assert told is not None
        waiting = asyncio.create_task(bench.sampling.after(told[0]))
        await asyncio.sleep(0)
        bench.sampling.close()
        assert await waiting is None
        assert await bench.sampling.after(0) is None


def test_they_are_so_many_at_most() -> None:
    async def watch() -> None:
        sampling = Sampling(lambda: asyncio.sleep(0, (b"x", False)), lambda begins: None)
        opened = [sampling.watching() for _ in range(MOST_WATCHERS)]
        for one in opened:
            one.__enter__()
        with pytest.raises(RequestError) as refused, sampling.watching():
            pass
        assert refused.value.failure.code == "too_many_watchers"
        opened.pop().__exit__(None, None, None)
        with sampling.watching():
            assert sampling.watchers == MOST_WATCHERS
        for one in opened:
            one.__exit__(None, None, None)

    asyncio.run(watch())
