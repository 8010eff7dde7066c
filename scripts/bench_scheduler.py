"""What a step costs in the scheduler's Python, without sockets: JSON on stdout.

    python scripts/bench_scheduler.py [--sequences 32] [--steps 2000]

Times are microseconds. `schedule` and `apply` are the policy; `encode` and `decode` are the messages of a step.
"""

import argparse
import json
import sys
from statistics import median
from time import perf_counter

from thespis.actors.scheduler.scheduler import Scheduler
from thespis.protocol.edges.gpu_runner_to_scheduler import GpuRunnerToScheduler, Sampled, StepResult
from thespis.protocol.prepared import Prepared
from thespis.protocol.roles import SchedulerConfig
from thespis.protocol.room import Room
from thespis.protocol.sampling import SamplingParams
from thespis.protocol.wire import Decoder, encode


def request(index: int, max_tokens: int) -> Prepared:
    return Prepared(
        id=f"request-{index}",
        attempt=0,
        client="client-bench",
        tenant="",
        arrival=float(index),
        deadline=None,
        priority=0,
        token_ids=tuple(range(index, index + 32)),
        items=(),
        positions=None,
        sampling=SamplingParams(max_tokens=max_tokens, seed=0),
        eos_token_ids=(1 << 20,),
    )


def measure(sequences: int, steps: int, waiting: int) -> dict[str, float]:
    """One step in flight while the next is planned, as in the engine; medians over `steps` steps."""
    room = Room(((sequences + waiting) * (steps + 64) // 16 + 64,))
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
    for index in range(sequences + waiting):
        policy.submit(request(index, steps), 0.0)
    answers: Decoder[StepResult] = Decoder(GpuRunnerToScheduler)
    times: dict[str, list[float]] = {"apply": [], "schedule": [], "encode": [], "decode": []}
    plans = [plan for _ in range(2) if (plan := policy.schedule(0.0)) is not None]
    for step in range(steps - 2):
        plan = plans.pop(0)
        frame = encode(StepResult(plan.step, tuple(Sampled(work.seq, step) for work in plan.work if work.sample)))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=32, help="sequences that decode at once")
    parser.add_argument("--waiting", type=int, default=0, help="sequences in the queue behind them")
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    json.dump(measure(options.sequences, options.steps, options.waiting), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
