"""Every statement has its test, and the table that says so can be believed."""

from thespis.scripts.spec_table import SECTIONS, STATEMENTS, Shown, all_tests, missing, shown_in

MARKED = (
    "import pytest\npytestmark = pytest.mark.process\ndef test_S5_x(): ...\ndef test_other(): ...\n"
)
ONE_MARKED = "@pytest.mark.process\nasync def test_S6_x(): ...\ndef test_S7_y(): ...\n"


def test_a_file_of_process_tests() -> None:
    assert list(shown_in(MARKED, "a.py")) == [Shown(5, "a.py::test_S5_x", True)]


def test_a_file_with_one_process_test() -> None:
    assert [(shown.statement, shown.real) for shown in shown_in(ONE_MARKED, "a.py")] == [
        (6, True),
        (7, False),
    ]


def test_the_sections_hold_every_statement_once() -> None:
    assert sorted(number for numbers in SECTIONS.values() for number in numbers) == list(STATEMENTS)


def test_a_test_of_two_statements() -> None:
    assert [
        shown.statement
        for shown in shown_in("def test_S8_S9_x(): ...\ndef test_S8x_S9_y(): ...\n", "a.py")
    ] == [8, 9]


def test_every_statement_is_shown_on_real_processes() -> None:
    table = all_tests()
    assert set(table) == set(STATEMENTS), "a test is named after a statement that there is not"
    assert missing(table) == [], "run scripts/dev spec"
