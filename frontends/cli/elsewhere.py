"""Commands that other programs of this kind have, and what is here in their place."""

import difflib
import re
from collections.abc import Collection

_SENTENCES = """\
`thespis --help` lists the commands, and `thespis COMMAND --help` the flags of one.
    help
`thespis --version` says it.
    version
`thespis models` lists what is in the cache, and what of it runs here.
    list ls show info tags
`thespis pull ORG/NAME` fetches a model of the hub.
    download fetch get install
`hf cache rm model/ORG/NAME` takes a model out of the cache.
    rm remove delete
An engine runs as long as the command that started it: Ctrl-C there, or SIGTERM, ends it.
    ps status stop kill
A model is a folder, a GGUF file or the id of one on a hub, and is given as it is: `thespis serve
MODEL`.
    create cp push convert import
`thespis chat "QUESTION"` asks one, and `thespis chat` talks.
    ask complete generate prompt
`thespis serve` starts a server.
    start launch up api
`thespis serve --runner pooling` makes vectors of any model, at /v1/embeddings.
    embed embeddings
`thespis bench offline` measures it.
    bench-throughput
`thespis bench serve --streams 1` measures it, of a server that runs.
    bench-latency
"""
"""Each with the words that it is about below it."""

HERE = {
    name: " ".join(sentence.split())
    for sentence, names in re.findall(r"((?:\S.*\n)+)((?: +.*\n)+)", _SENTENCES)
    for name in names.split()
}
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
