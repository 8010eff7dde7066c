"""The rows as a page of the documentation."""

from .questions import LEAST, TOKENS
from .row import CLOSE, COLUMNS, EQUAL, NOT_ASKED, Row, Table

HEAD = """# Models

Written by `scripts/dev models-table` with transformers {transformers} and torch {torch}. Each row is a checkpoint of
random weights in exactly the form in which its type is published (`tests/zoo`), run by a real engine in float32 on a
CPU, {least} or more mixed requests at a time in a KV cache that holds a fourth to a sixth of them. **=** means that
it was run and that every answer was equal to transformers' own `generate()` for that request alone: the prompt's
tokens, the answer's tokens ({tokens} and more, up to the first place where two tokens are tied), and the
log-probabilities of the first, which lie at most {close:g} apart.

- **chunked**: prompts were computed in pieces, and media spans cut. **preempted**: running requests were put back and computed
  anew. **prefix hit**: the beginning of a prompt was found in the cache. **killed and resumed**: the runner was ended by
  `kill -9` in the middle of the batch.
- **embeddings in**: prompts as embeddings, and pictures as rows of the tower where rows alone, or with a grid, tell how a
  picture was divided; other models' rows are refused.
- Of a type that transformers does not have (`phi3_v`, `minicpmv`, `ultravox`) the truth is its `generate()` over a forward
  and a processor that are written in a straight line in `tests/zoo/own`, from what the published files and papers say.
- **-** does not apply. What is not equal is said in words below the table.
- The media of one prompt change each other where the model wants it: LLaVA-OneVision sees a picture otherwise among others, and
  Phi-4 multimodal hears a sound otherwise beside a picture. In transformers they do in two more families, as it pads them
  together: two sounds of different length of Granite speech, two clips of different length of SmolVLM. Such prompts are not in
  the table; each item is then what transformers makes of it alone.
- Of `phi4_multimodal` the truth is transformers with eager attention. By its SDPA a patch of a picture does not see those
  behind it, where no picture of the prompt is padded; in the model as it was trained it does.

"""  # noqa: E501


def page(table: Table) -> str:
    rows = table.rows
    head = HEAD.format(
        transformers=table.transformers, torch=table.torch, least=LEAST, tokens=TOKENS, close=CLOSE
    )
    lines = [
        "| checkpoint | model type | " + " | ".join(COLUMNS) + " | distance |",
        "|---|---|" + ":-:|" * len(COLUMNS) + "---|",
    ]
    remarks = []
    for row in sorted(rows, key=lambda row: row.name):
        cells = [_mark(row, column) for column in COLUMNS]
        distance = f"{row.distance:.0e}" if row.cells else ""
        lines.append(f"| {row.name} | {row.model_type} | " + " | ".join(cells) + f" | {distance} |")
        said = {
            text: column for column, text in row.cells.items() if text not in (EQUAL, NOT_ASKED)
        }
        if row.reason:
            remarks.append(f"- **{row.name}**: {row.reason}")
        elif said:
            remarks.append(
                f"- **{row.name}**: "
                f"{'; '.join(f'{column}: {text}' for text, column in said.items())}."
            )
    whole = sum(
        all(cell in (EQUAL, NOT_ASKED) for cell in row.cells.values()) and not row.reason
        for row in rows
    )
    end = f"\n{whole} of {len(rows)} are equal in every cell.\n"
    return (
        head + "\n".join(lines) + "\n" + end + ("\n" + "\n".join(remarks) + "\n" if remarks else "")
    )


def _mark(row: Row, column: str) -> str:
    if row.reason:
        return ""
    said = row.cells.get(column, NOT_ASKED)
    return {EQUAL: "=", NOT_ASKED: "-"}.get(said, "**no**")
