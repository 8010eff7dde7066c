"""`thespis bench overhead`: what the engine adds to its model.

In turn, several rounds: a bare decode loop over the runner in this process, one stream over HTTP,
many streams over HTTP. Read the ratios: other load on the machine moves all figures of a round
together.
"""

import argparse
import statistics
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ....protocol.checkpoint.folder import demo_model
from ....protocol.config.engine import EngineConfig
from ....protocol.config.server import ServerConfig
from ...hub.locate import located
from ..flags import add_flags, add_model, build
from ..server import serving
from .apart import ask
from .asking import add_output_arguments
from .numbers import number
from .report import Cell, print_cells, progress

if TYPE_CHECKING:
    from .bare import BareRunner

LINE = "what the engine adds to its model: streams over HTTP beside a bare decode loop"
LABELS = {
    "tokens_per_second_1": ("1 stream", "tokens/s"),
    "tokens_per_second_many": ("many streams", "tokens/s"),
    "speedup": ("many streams over one", "times"),
    "bare_itl_ms": ("between tokens, bare loop", "ms"),
    "http_itl_ms": ("between tokens, over HTTP", "ms"),
    "http_over_bare": ("over HTTP over bare", "times"),
}
"""What the table shows, and its unit; the JSON has the means besides."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    tokens = {"prompt-tokens": (32, "tokens of each prompt"), "max-tokens": (128, "of each answer")}
    more = {"rounds": (5, "of which the medians are shown"), "streams": (32, "that many are")}
    for name, (default, text) in (tokens | more).items():
        least = 2 if name == "max-tokens" else 1  # the first token has no gap before it
        help = f"{text} (default: %(default)s)"
        reader = number(least)
        parser.add_argument(f"--{name}", type=reader, default=default, metavar="N", help=help)
    add_output_arguments(parser)
    engine = parser.add_argument_group(
        "engine", "The model is loaded twice: by the engine, and for the bare loop."
    )
    add_flags(engine, EngineConfig, skip=("model", "seed", "runner"))


def run(given: argparse.Namespace) -> int:
    engine = located(build(EngineConfig, given))
    engine = replace(engine, model=engine.model or str(demo_model()))
    with serving(engine, ServerConfig(port=0)) as server:
        from .bare import BareRunner

        length = engine.max_model_len or given.prompt_tokens + given.max_tokens
        bare = BareRunner(replace(engine, max_model_len=length))
        bare_loop(bare, given)  # the first run pays for what is made once
        ask(server.url, 1, given.prompt_tokens, given.max_tokens)
        with progress(given.rounds, "rounds") as bar:
            rounds = []
            for _ in range(given.rounds):
                rounds.append(one_round(bare, server.url, given))
                bar.update()
    median = medians(rounds)
    cells = [Cell(name, median[key], unit) for key, (name, unit) in LABELS.items()]
    rows = [{name: round(value, 3) for name, value in row.items()} for row in rounds]
    print_cells(given, cells, {"median": median, "rounds": rows})
    return 0


def one_round(bare: "BareRunner", url: str, given: argparse.Namespace) -> dict[str, float]:
    """Milliseconds between tokens, tokens per second, and how many times one is the other."""
    loop, mean = bare_loop(bare, given)
    single, many = (
        ask(url, streams, given.prompt_tokens, given.max_tokens) for streams in (1, given.streams)
    )
    return {
        "bare_itl_ms": loop,
        "http_itl_ms": single["itl_ms_p50"],
        "http_over_bare": single["itl_ms_p50"] / loop,
        "bare_itl_mean_ms": mean,
        "http_itl_mean_ms": single["itl_ms_mean"],
        "http_over_bare_mean": single["itl_ms_mean"] / mean,
        "tokens_per_second_1": single["tokens_per_second"],
        "tokens_per_second_many": many["tokens_per_second"],
        "speedup": many["tokens_per_second"] / single["tokens_per_second"],
    }


def bare_loop(bare: "BareRunner", given: argparse.Namespace) -> tuple[float, float]:
    """The median and the mean step over one sequence, in milliseconds."""
    prompt, tokens = given.prompt_tokens, given.max_tokens
    taken = list(bare.decode_steps(1, prompt, tokens - 1, prompt + tokens))
    return statistics.median(taken) * 1000, statistics.fmean(taken) * 1000


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """A ratio's is that of the rounds' ratios, not the quotient of two medians."""
    return {name: round(statistics.median(r[name] for r in rounds), 3) for name in rounds[0]}
