"""What is wrong with one sequence ends that sequence; the others of the step do not notice."""

from collections.abc import Callable

import pytest
import torch

from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import Embed, NewSequence, StepPlan, Work
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.checkpoints import Checkpoints
from ..driving import GREEDY, Driver, Prompt, Running, runner_config


@pytest.fixture(scope="module")
def runner(checkpoints: Checkpoints) -> Runner:
    return Runner(runner_config(checkpoints("llava")))


def innocent(driver: Driver) -> Running:
    return driver.start(Prompt([10, 20, 30, 40, 50, 60, 70]))


def alone(runner: Runner) -> list[int]:
    driver = Driver(runner)
    return driver.finish(innocent(driver), 6)


def faulty_embeds(driver: Driver, rows: torch.Tensor, length: int = 8) -> Running:
    return driver.start(Prompt(list(range(1, length + 1)), embeds=[(2, rows)]))


def test_a_non_finite_embedding_faults_and_poisons_nobody(runner: Runner) -> None:
    """Neither in its own step nor through the blocks that it leaves behind, although others mask
    unwritten places only."""
    wanted = alone(runner)
    driver = Driver(runner)
    good, bad = innocent(driver), faulty_embeds(driver, torch.full((3, 64), torch.nan), length=16)
    result = driver.step([(good, 7), (bad, 16)])
    assert [fault.seq for fault in result.faults] == [bad.seq]
    assert "not finite" in result.faults[0].text
    assert [one.seq for one in result.sampled] == [good.seq]
    driver.drop(bad)
    driver.free.extend(
        driver.free[: len(bad.blocks)]
    )  # the next blocks handed out are the ones it wrote
    other = innocent(driver)
    while len(other.output) < 6:
        driver.step([(good, 1), (other, len(other.tokens) - other.computed)])
    assert set(other.blocks[2:]) & set(bad.blocks)  # a block that decoding fills place by place
    assert good.output[:6] == wanted
    assert other.output == wanted


def test_an_unreadable_blob_faults(runner: Runner) -> None:
    driver = Driver(runner)
    good, bad = innocent(driver), faulty_embeds(driver, torch.zeros(3, 64))
    known = driver.read

    def gone(ref: BlobRef) -> memoryview:
        return known(BlobRef("gone", 0, "float32", (3, 64)))

    driver.read = gone  # type: ignore[method-assign]
    result = driver.step([(good, 7), (bad, 8)])
    assert [(fault.seq, fault.text) for fault in result.faults] == [
        (bad.seq, "An embedding of the request could not be read.")
    ]
    assert [one.seq for one in result.sampled] == [good.seq]


@pytest.mark.parametrize("shape", [(2, 64), (3, 32), (3,)])
def test_an_embedding_of_another_shape_faults(runner: Runner, shape: tuple[int, ...]) -> None:
    runner.reset()
    new = NewSequence(1, (1, 2, 3, 4), 4, None, 0, GREEDY, 0, (), ((1,),))
    embed = Embed(1, 0, 3, 0, BlobRef("x", 0, "float32", shape))
    result = runner.execute(
        StepPlan(0, (new,), (Work(1, 0, 4, True),), (embed,), ()), lambda _: memoryview(bytes(768))
    )
    assert [fault.seq for fault in result.faults] == [1]


BROKEN: dict[str, Callable[[], StepPlan]] = {
    "unknown": lambda: StepPlan(1, (), (Work(99, 0, 1, True),), (), ()),
    "past its tokens": lambda: plan_for(work=Work(99, 0, 5, False)),
    "too few blocks": lambda: plan_for(blocks=()),
    "sampled before its end": lambda: plan_for(work=Work(99, 0, 3, True)),
    "block outside": lambda: plan_for(blocks=(10**6,)),
    "token outside": lambda: plan_for(token_ids=(1, 2, 3, 10**6)),
    "negative token": lambda: plan_for(token_ids=(1, 2, 3, -1)),
    "no tokens": lambda: plan_for(token_ids=()),
    "positions too few": lambda: plan_for(positions=bytes(12)),
    "positions ragged": lambda: plan_for(positions=bytes(13)),
    "bias outside": lambda: plan_for(sampling=SamplingParams(logit_bias={10**6: 1.0})),
    "a copy of no block": lambda: plan_for(copy=(10**6, 5, 1)),
    "a copy into no block": lambda: plan_for(copy=(6, 0, 1)),
    "a copy of a whole block": lambda: plan_for(copy=(6, 5, 10**6)),
    "longer than the context": lambda: plan_for(token_ids=(1,) * 5000),
}


def plan_for(
    token_ids: tuple[int, ...] = (1, 2, 3, 4),
    work: Work = Work(99, 0, 4, True),  # noqa: B008 - frozen
    blocks: tuple[int, ...] = (5,),
    positions: bytes | None = None,
    sampling: SamplingParams = GREEDY,
    copy: tuple[int, int, int] = (0, 0, 0),
) -> StepPlan:
    source, target, copied = copy
    new = NewSequence(
        99, token_ids, max(1, len(token_ids)), positions, 0, sampling, 0, (), (blocks,),
        copied=copied, copy_from=source, copy_to=target,
    )  # fmt: skip
    return StepPlan(1, (new,), (work,), (), ())


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plan_faults_its_sequence_alone(runner: Runner, name: str) -> None:
    wanted = alone(runner)
    driver = Driver(runner)
    good = innocent(driver)
    driver.free.remove(5)
    driver.step([(good, 7)])
    broken = BROKEN[name]()
    both = StepPlan(2, broken.new, (*broken.work, Work(good.seq, 7, 1, True)), (), ())
    result: StepResult = runner.execute(both, driver.read)
    assert [fault.seq for fault in result.faults] == [99]
    assert [(one.seq, one.token_id) for one in result.sampled] == [(good.seq, wanted[1])]


def test_a_library_s_own_words_are_not_the_caller_s(runner: Runner) -> None:
    """Bytes that are no whole numbers: numpy's ValueError."""
    result = runner.execute(BROKEN["positions ragged"](), lambda _: memoryview(b""))
    assert [fault.text for fault in result.faults] == ["The sequence cannot be run."]


def test_a_faulted_sequence_stays_faulted_until_dropped(runner: Runner) -> None:
    """A plan sent ahead still holds it."""
    driver = Driver(runner)
    bad = faulty_embeds(driver, torch.full((3, 64), torch.inf))
    first = driver.step([(bad, 8)])
    ahead = runner.execute(StepPlan(2, (), (Work(bad.seq, 8, 1, True),), (), ()), driver.read)
    assert first.faults == ahead.faults
    after = runner.execute(
        StepPlan(3, (), (Work(bad.seq, 8, 1, True),), (), (bad.seq,)), driver.read
    )
    assert after.faults[0].text == "The runner does not know the sequence."


def test_reset_forgets(runner: Runner) -> None:
    driver = Driver(runner)
    one = innocent(driver)
    driver.step([(one, 7)])
    runner.reset()
    assert driver.step([(one, 1)]).faults[0].text == "The runner does not know the sequence."
