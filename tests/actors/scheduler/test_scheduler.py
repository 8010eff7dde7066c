"""What the policy does, by example."""

from .bench import Bench, prepared
from .paged_model import oracle


def test_a_request_gets_the_oracles_tokens_and_is_closed() -> None:
    bench = Bench()
    request = prepared("r", [5, 6, 7, 8, 9], max_tokens=9, ignore_eos=True)
    bench.submit(request)
    bench.run()
    assert bench.tokens["r", 0] == oracle(request, 0)
    assert bench.finishes["r", 0].finish == "length"
    assert bench.closed["r"].usage.prompt_tokens == 5
    bench.assert_empty()
