"""A stream read to its end, as `LLM` and `AsyncLLM` return it."""

import asyncio

from thespis.frontends.client.stream import Stream
from thespis.frontends.python.moment import Moment
from thespis.frontends.python.outputs import collect
from thespis.protocol.edges.detokenizer_to_client import Delta, Finished, Logprob
from thespis.protocol.edges.scheduler_to_detokenizer import Usage
from thespis.protocol.requests.prepared import Timing

from ..openai.fake import position

USAGE = Usage(3, 2, {"image": 4}, 1)
TIMING = Timing("prefill", 100.0, 100.5, "3 tokens")


async def cancel(id: str) -> None:
    raise AssertionError("it is finished")


async def test_every_choice_is_gathered_from_all_updates() -> None:
    stream = Stream("r", cancel)
    reading = asyncio.create_task(collect(stream, "as written", 2, arrival=Moment(1.0, 1.0)))
    stream.push(Delta("r", 0, 0, 0, 0, (5,), "a", (position(5, "a", 1),)))
    await asyncio.sleep(0)  # an update of its own
    stream.push(Delta("r", 0, 1, 0, 0, (7,), "c", (), "length"))
    stream.push(Delta("r", 0, 0, 1, 1, (6,), "b", (position(6, "b", 2),), "stop", "b"))
    stream.finish(Finished("r", 0, USAGE, 3, (TIMING,)))
    output = await reading
    first, second = output.outputs
    assert (first.text, first.token_ids, first.finish_reason, first.stop_reason) == (
        "ab",
        [5, 6],
        "stop",
        "b",
    )
    assert (second.text, second.token_ids, second.finish_reason, second.logprobs) == (
        "c",
        [7],
        "length",
        None,
    )
    assert first.cumulative_logprob == -1.0
    assert second.cumulative_logprob is None
    assert first.logprobs is not None
    assert [sorted(at) for at in first.logprobs] == [[5], [6, 200]]
    assert first.logprobs[0][5] == Logprob(5, -0.5, 1, "a", b"a")
    assert (output.request_id, output.prompt, output.finished) == ("r", "as written", True)
    metrics = output.metrics
    assert (metrics.cached_tokens, metrics.preemptions, metrics.media_tokens, metrics.timings) == (
        2,
        1,
        {"image": 4},
        (TIMING,),
    )
    assert metrics.arrival == 1.0
    assert metrics.first_token is not None
    assert metrics.finished is not None
    assert metrics.first_token <= metrics.finished


async def test_a_prompt_of_one_token_has_no_logprob() -> None:
    stream = Stream("r", cancel)
    stream.push_prompt(1, ())
    stream.finish(Finished("r", 0, USAGE, 0, ()))
    assert (await collect(stream, None, 1, Moment(0.0, 0.0))).prompt_logprobs == [None]


async def test_a_prompts_scores_come_in_pieces_and_again_from_the_start_after_a_replay() -> None:
    """Pieces: fifty alternatives for each token of a long prompt in one message held every process
    on the way to its client."""
    stream = Stream("r", cancel)
    reading = asyncio.create_task(collect(stream, None, 1, Moment(0.0, 0.0)))
    scores = [position(id, "p", 0) for id in range(5)]
    for start, end in ((1, 3), (3, 4), (1, 4), (2, 6)):
        stream.push_prompt(start, scores[start - 1 : end - 1])
        await asyncio.sleep(0)
    stream.finish(Finished("r", 0, USAGE, 0, ()))
    output = await reading
    assert output.prompt_logprobs is not None
    assert [set(entry or ()) for entry in output.prompt_logprobs] == [
        set(),
        {0},
        {1},
        {2},
        {3},
        {4},
    ]
