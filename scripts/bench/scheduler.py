"""What a step costs in the scheduler's Python, without sockets: JSON on stdout.

    scripts/dev bench scheduler [--sequences 32] [--steps 2000] [--queue 10000]

Times are microseconds. `schedule` and `apply` are the policy; `encode` and `decode` are the
messages of a step. With `--queue` so many requests of several kinds wait behind 256 sequences in
100,000 blocks, and each kind tells its plans, in CPU time.
"""

import json
import sys
from statistics import median
from time import perf_counter, process_time

from thespis.actors.scheduler.scheduler import Scheduler
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.config.room import Room
from thespis.protocol.edges.gpu_runner_to_scheduler import GpuRunnerToScheduler, Sampled, StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan
from thespis.protocol.requests.prepared import Item, Prepared, Span
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.wire import Decoder, encode

from . import parser_of


def request(index: int, max_tokens: int, length: int = 32, picture: str = "") -> Prepared:
    """`picture`: the key of one, whose rows are all but the last eight tokens."""
    rows = length - 8
    return Prepared(
        id=f"request-{index}",
        attempt=0,
        client="client-bench",
        tenant="",
        arrival=float(index),
        priority=0,
        token_ids=tuple(range(index, index + length)),
        items=(Item(picture, "image", rows, (Span(0, rows),)),) if picture else (),
        positions=None,
        sampling=SamplingParams(max_tokens=max_tokens, seed=0),
        eos_token_ids=(1 << 20,),
    )


def policy_of(sequences: int, room: Room) -> Scheduler:
    config = SchedulerConfig(
        max_num_seqs=sequences,
        max_batched_tokens=512,
        max_model_len=1 << 20,
        attention_even=1 << 20,
        block_size=16,
        windows=(None,),
        room=room,
        prefix_caching=True,
        rope_bound=None,
        answers_apart=False,
        hidden_bytes=4,
        store_bytes=1 << 20,
    )
    policy = Scheduler(config)
    policy.runner_joined(room)
    return policy


def measure(sequences: int, steps: int, waiting: int) -> dict[str, float]:
    """One step in flight while the next is planned, as in the engine; medians over `steps`
    steps."""
    room = Room(((sequences + waiting) * (steps + 64) // 16 + 64,))
    policy = policy_of(sequences, room)
    for index in range(sequences + waiting):
        policy.submit(request(index, steps), 0.0)
    answers: Decoder[StepResult] = Decoder(GpuRunnerToScheduler)
    times: dict[str, list[float]] = {"apply": [], "schedule": [], "encode": [], "decode": []}
    plans = [plan for _ in range(2) if (plan := policy.schedule(0.0)) is not None]
    for step in range(steps - 2):
        plan = plans.pop(0)
        frame = encode(
            StepResult(
                plan.step, tuple(Sampled(work.seq, step) for work in plan.work if work.sample)
            )
        )
        begin = perf_counter()
        result = answers.decode(frame)
        decoded = perf_counter()
        policy.apply(result, 0.0)
        applied = perf_counter()
        following = policy.schedule(0.0)
        scheduled = perf_counter()
        if following is not None:
            encode(following)
            plans.append(following)
        for message in policy.outbox.detokenizer:
            encode(message)
        encoded = perf_counter()
        policy.outbox.detokenizer.clear()
        marks = (decoded - begin, applied - decoded, scheduled - applied, encoded - scheduled)
        for name, seconds in zip(("decode", "apply", "schedule", "encode"), marks, strict=True):
            times[name].append(seconds * 1e6)
    report = {f"{name}_us": round(median(values), 1) for name, values in times.items()}
    whole = sorted(sum(parts) for parts in zip(*times.values(), strict=True))
    return {
        "sequences": sequences,
        "waiting": waiting,
        "steps": len(whole),
        **report,
        "step_us_p50": round(median(whole), 1),
        "step_us_p99": round(whole[int(len(whole) * 0.99)], 1),
    }


RUNNING, BLOCKS = 256, 100_000
KINDS = {
    "texts": (64, False),
    "pictures": (600, True),
    "prompts of which one fits beside the others": (30_000, False),
    "prompts that fill the memory": (90_000, False),
}
"""Of what waits: its tokens, and whether it has a picture of its own."""


def measure_queue(waiting: int, kind: str, steps: int = 200) -> dict[str, float | str]:
    """Plans while the queue stands: `RUNNING` sequences that decode, then newcomers in their
    places; no picture arrives."""
    length, has_picture = KINDS[kind]
    policy = policy_of(RUNNING + 1, Room((BLOCKS + 1,)))
    for index in range(RUNNING):
        policy.submit(request(index, 1 << 16), 0.0)
    in_flight = policy.schedule(0.0)
    while any(len(seq.output) < 2 for seq in policy.batch.running) or policy.batch.waiting:
        following = policy.schedule(0.0)
        _answer(policy, in_flight)
        in_flight = following
    began = process_time()
    for index in range(
        waiting if length < 1000 else min(waiting, 64)
    ):  # of long ones only those at the head are looked at
        name = f"picture-{index}" if has_picture else ""
        policy.submit(request(RUNNING + index, 16, length, name), 0.0)
    for index in range(max(0, waiting - 64) if length > 1000 else 0):
        policy.submit(request(RUNNING + 64 + index, 16), 0.0)
    submitted = process_time() - began
    taken = []
    for _ in range(steps):
        began = process_time()
        plan = policy.schedule(0.0)
        taken.append((process_time() - began) * 1e6)
        _answer(policy, in_flight)
        in_flight = plan
    return {
        "queue": kind,
        "waiting": len(policy.batch.waiting),
        "submit_us": round(submitted / waiting * 1e6, 1),
        "plan_us_p50": round(median(taken), 1),
        "plan_us_max": round(max(taken), 1),
    }


def _answer(policy: Scheduler, plan: StepPlan | None) -> None:
    if plan is not None:
        policy.apply(
            StepResult(plan.step, tuple(Sampled(work.seq, 1) for work in plan.work if work.sample)),
            0.0,
        )


def main() -> None:
    parser = parser_of("scheduler", __doc__)
    parser.add_argument("--sequences", type=int, default=32, help="sequences that decode at once")
    parser.add_argument("--waiting", type=int, default=0, help="sequences in the queue behind them")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--queue", type=int, help="requests that wait; their plans are measured instead"
    )
    options = parser.parse_args()
    if options.queue is None:
        report: object = measure(options.sequences, options.steps, options.waiting)
    else:
        report = [measure_queue(options.queue, kind) for kind in KINDS]
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
