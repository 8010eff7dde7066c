"""A long text must not look like a dead process."""

import threading
import time

from thespis.protocol.checkpoint import demo_model

from .parts import load


def test_other_threads_run_while_a_long_text_is_tokenised() -> None:
    tokenizer = load(demo_model()).tokenizer
    turns, over = 0, threading.Event()

    def beat() -> None:
        nonlocal turns
        while not over.wait(0.001):
            turns += 1

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        start, before = time.perf_counter(), turns
        ids = tokenizer.encode("what do you see? " * 40_000, False)
        beats, seconds = turns - before, time.perf_counter() - start
    finally:
        over.set()
        heart.join()
    assert len(ids) > 100_000
    assert beats > 10 * seconds, "the interpreter's lock was kept"
