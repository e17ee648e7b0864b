"""The table of README is the one that `make bench-glance` prints."""

from __future__ import annotations

from pathlib import Path

from benchmarks.glance import COLUMNS, ROWS
from benchmarks.harness.question import find_questions

README = Path(__file__).parents[2] / "README.md"


def table() -> list[list[str]]:
    """The cells of the first table, without the line below its heads."""
    before = README.read_text().partition("\nWhen not to use it:")[0]
    lines = [line for line in before.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set(row[0]) != {"-"}]


def test_table_of_readme_has_the_columns_and_rows_that_are_measured() -> None:
    heads, *rows = table()
    assert heads == ["", *COLUMNS]
    assert [row[0] for row in rows] == list(ROWS.values())
    assert all(len(row) == len(heads) and all(row) for row in rows)


def test_questions_of_the_table_are_asked_of_all_its_columns() -> None:
    questions = find_questions()
    for name in ROWS:
        assert set(COLUMNS) <= {each.name for each in questions[name].candidates}
