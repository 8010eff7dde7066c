"""What a token costs in the detokenizer, decode and encode of its messages included:
`scripts/dev bench detokenizer`"""

import time
from pathlib import Path

from thespis.actors.detokenizer.sessions import Sessions
from thespis.actors.detokenizer.vocabulary import load
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.edges.scheduler_to_detokenizer import (
    Open,
    Output,
    Outputs,
    SchedulerToDetokenizer,
)
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.wire import Decoder, encode

from . import parser_of

TEXT = "The quick brown fox jumps over the lazy dog, naïvely: 日本語 and 👋🏽 included. "


def main() -> None:
    parser = parser_of("detokenizer", __doc__)
    parser.add_argument(
        "--model", type=Path, default=demo_model(), help="folder with a tokenizer.json"
    )
    parser.add_argument(
        "--streams", type=int, default=32, help="requests that grow by one token in each step"
    )
    parser.add_argument("--steps", type=int, default=500, help="tokens per request")
    parser.add_argument("--stop", nargs="*", default=["\n\nUser:", "###"], help="stop strings")
    options = parser.parse_args()

    vocabulary = load(str(options.model))
    sessions = Sessions(vocabulary, ())
    ids = load_ids(options.model, options.steps)
    sampling = SamplingParams(max_tokens=None, stop=tuple(options.stop))
    for stream in range(options.streams):
        sessions.handle(Open(str(stream), 0, "client-bench", sampling, ()))
    steps = [
        encode(
            Outputs(
                tuple(
                    Output(str(stream), 0, 0, step, (token,)) for stream in range(options.streams)
                )
            )
        )
        for step, token in enumerate(ids)
    ]
    decoder: Decoder[Outputs] = Decoder(SchedulerToDetokenizer)
    start = time.perf_counter()
    for step_bytes in steps:
        for _, message in sessions.handle(decoder.decode(step_bytes)):
            encode(message)
    seconds = time.perf_counter() - start
    count = options.streams * len(steps)
    print(
        f"{seconds / count * 1e6:.1f} us a token ({count} tokens, {options.streams} streams, "
        f"{count / seconds:,.0f} tokens/s)"
    )


def load_ids(model: Path, count: int) -> list[int]:
    from tokenizers import Tokenizer

    ids = (
        Tokenizer.from_file(str(model / "tokenizer.json"))
        .encode(TEXT, add_special_tokens=False)
        .ids
    )
    return [ids[index % len(ids)] for index in range(count)]


if __name__ == "__main__":
    main()
