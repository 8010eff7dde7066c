"""One thread that opens files for a loop."""

import asyncio
import threading

import anyio

from thespis.actors.fetcher.at_hand import IN_HAND, FileOpener, Opened, OpenFile
from thespis.actors.fetcher.download_table import Download


async def test_all_files_are_opened_in_their_order_and_taken_in_the_loop() -> None:
    taken: list[Opened] = []
    threads: set[int] = set()

    def take(opened: Opened) -> None:
        threads.add(threading.get_ident())
        taken.append(opened)

    opener = FileOpener(lambda url: OpenFile(-1, int(url.rpartition("/")[2])), take)
    opener.open()
    downloads = [Download("image", f"file:///{number}") for number in range(3 * IN_HAND)]
    for download in downloads:
        opener.add(download)
    with anyio.fail_after(10):
        while len(taken) < len(downloads):
            await asyncio.sleep(0.001)
    opener.close()
    assert [read.download for read in taken] == downloads
    assert [read.made for read in taken] == [OpenFile(-1, n) for n in range(len(downloads))]
    assert threads == {threading.get_ident()}
    assert len(opener) == 0


async def test_few_are_in_hand_at_once_and_those_that_nobody_wants_any_more_are_not_opened() -> (
    None
):
    gate, taken, seen = threading.Event(), list[Opened](), list[str]()

    def open(url: str) -> OpenFile:
        gate.wait(10)
        seen.append(url)
        raise ValueError(url)

    opener = FileOpener(open, taken.append)
    opener.open()
    downloads = [Download("image", f"file:///{number}") for number in range(IN_HAND + 3)]
    for download in downloads:
        opener.add(download)
    downloads[-2].joinable = False  # which nobody waits for
    gate.set()
    with anyio.fail_after(10):
        while len(taken) < IN_HAND + 2:
            await asyncio.sleep(0.001)
    opener.close()
    assert all(isinstance(read.made, ValueError) for read in taken)
    assert downloads[-2].url not in seen
    assert seen[-1] == downloads[-1].url
