from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.encoder_cache.batching import BATCH_SECONDS, Job, RowPace, choose
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features


def job(key: str, modality: Any, ready: bool, rows: int) -> Job:
    return Job(key, rows, Features("r", "client-a", key, modality, rows, {}, ready))


kinds = st.tuples(st.sampled_from(["image", "video", "audio"]), st.booleans(), st.integers(1, 60))
queues = st.lists(kinds, max_size=20).map(
    lambda rows: [job(str(n), *kind) for n, kind in enumerate(rows)]
)


@settings(deadline=None)
@given(queues, st.integers(1, 100))
def test_a_batch_is_the_oldest_of_one_kind_within_the_bound(queue: list[Job], bound: int) -> None:
    batch = choose(queue, bound)
    assert batch[:1] == queue[:1]
    if not batch:
        return
    same = [job for job in queue if (job.features.modality, job.features.ready) == _kind(queue[0])]
    assert batch == same[: len(batch)], "nobody is overtaken by a younger one of its kind"
    assert len(batch) == 1 or sum(job.rows for job in batch) <= bound
    if len(batch) < len(same):
        assert sum(job.rows for job in same[: len(batch) + 1]) > bound


def test_a_batch_has_the_rows_that_it_has_time_for_by_what_earlier_ones_took() -> None:
    pace = RowPace(512)
    assert pace.rows("image") == 512, "nothing is known"
    pace.learn("image", 144, 0.4)
    assert pace.rows("image") == int(BATCH_SECONDS / 0.4 * 144)
    assert pace.rows("video") == 512
    pace.learn("video", 10_000, 0.001)
    assert pace.rows("video") == 512, "more gains nothing"
    for _ in range(40):
        pace.learn("image", 144, 0.012)
    assert pace.rows("image") == 512, "it was slow for once"
    pace.learn("audio", 1, 60.0)
    assert pace.rows("audio") == 1, "one item goes, whatever it takes"


def _kind(job: Job) -> tuple[str, bool]:
    return job.features.modality, job.features.ready
