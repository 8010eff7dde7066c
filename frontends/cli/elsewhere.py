"""Commands that other programs of this kind have, and what is here in their place."""

import difflib
from collections.abc import Collection

_SENTENCES = {
    "help": "`thespis --help` lists the commands, and `thespis COMMAND --help` the flags of one.",
    "version": "`thespis --version` says it.",
    "list ls show info tags": (
        "`thespis models` lists what is in the cache, and what of it runs here."
    ),
    "download fetch get install": "`thespis pull ORG/NAME` fetches a model of the hub.",
    "rm remove delete": "`hf cache rm model/ORG/NAME` takes a model out of the cache.",
    "ps status stop kill": (
        "An engine runs as long as the command that started it: Ctrl-C there, or SIGTERM, ends it."
    ),
    "create cp push convert import": (
        "A model is a folder, a GGUF file or the id of one on a hub, and is "
        "given as it is: `thespis serve MODEL`."
    ),
    "ask complete generate prompt": '`thespis chat "QUESTION"` asks one, and `thespis chat` talks.',
    "start launch up api": "`thespis serve` starts a server.",
    "embed embeddings": (
        "`thespis serve --runner pooling` makes vectors of any model, at /v1/embeddings."
    ),
    "bench-throughput": "`thespis bench offline` measures it.",
    "bench-latency": "`thespis bench serve --streams 1` measures it, of a server that runs.",
}
"""By the words that it is about."""

HERE = {name: sentence for names, sentence in _SENTENCES.items() for name in names.split()}
WORDS_OF_RUN = (
    "it asks the bundled model alone; `thespis chat MODEL` talks with another, and `thespis serve "
    "MODEL` serves it"
)
"""To who gives a model to `run`, as elsewhere."""


def meant(word: str, known: Collection[str], above: str = "") -> str:
    """What to do instead of a command that there is not. `above`: the command that it is of."""
    if not above and ("/" in word or word.endswith(".gguf")):
        return f"A model stands behind a command: thespis serve {word}"
    name = f"{above}-{word}" if above else word
    if (sentence := HERE.get(name.lower())) is not None:
        return sentence
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}."
