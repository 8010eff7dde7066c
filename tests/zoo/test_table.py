"""The page of models is what its rows say, and every row is a checkpoint of the zoo."""

from pathlib import Path

import msgspec

from thespis.scripts.models_table.page import page
from thespis.scripts.models_table.row import COLUMNS, EQUAL, NOT_ASKED, Row, Table

from .catalog import NAMES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_its_rows_say() -> None:
    table = msgspec.json.decode((DOCS / "models.json").read_bytes(), type=Table)
    assert (DOCS / "models.md").read_text() == page(table)
    assert {row.name for row in table.rows} <= set(NAMES)


def test_what_is_not_equal_is_said_in_words() -> None:
    good = Row("qwen2", "qwen2", {**dict.fromkeys(COLUMNS, NOT_ASKED), "text": EQUAL})
    other = Row(
        "llava", "llava", {**dict.fromkeys(COLUMNS, EQUAL), "several": "other tokens from 3 on"}
    )
    refused = Row("ovis2", "ovis2", reason="It is refused.")
    text = page(Table("5.0", "2.0", [good, other, refused]))
    assert "1 of 3 are equal in every cell." in text
    assert "- **llava**: several: other tokens from 3 on." in text
    assert "- **ovis2**: It is refused." in text
    assert "transformers 5.0 and torch 2.0" in text
