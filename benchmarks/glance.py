"""The table in README: distio beside other libraries that call a function for each item of a list.

    make bench-glance

asks a few of the questions that other files have, and prints the table of README in Markdown. Each
library is asked the same, in its own words, in turns. One that takes too long is ended, and one
that isn't installed is left out; the table says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.harness.asking import Answer, Entry, ask
from benchmarks.harness.command import parser_of, say, size_of
from benchmarks.harness.machine import revision
from benchmarks.harness.peers import AT_A_GLANCE
from benchmarks.harness.question import Question, Size, find_questions, versions_of
from benchmarks.harness.tables import figure, in_markdown, spread

__all__ = ["COLUMNS", "ROWS", "main"]

ROWS: Final = {
    "tiny-calls": "each of 10,000 calls that do nothing",
    "busy-calls": "64 calls of 50 ms of CPU",
    "round-trip": "one call, until its value is there",
    "cold-script": "a script that has one call made",
    "idle-memory": "memory of all processes, idle",
    "killed-worker": "a worker is killed amid 64 calls",
}
"""By question, the head of its row."""
COLUMNS: Final = AT_A_GLANCE
_OURS: Final = {"round-trip": "distio, Executor.submit"}
"""The candidates for distio where a program isn't what the others are asked for."""


def asked(question: Question, size: Size) -> Answer:
    """The times of the candidates in the table."""
    by_name = {each.name: each for each in question.candidates}
    ours = _OURS.get(question.name, "distio")
    found = [by_name[ours if name == "distio" else name] for name in COLUMNS]
    return ask(question, size, [Entry(each) for each in found], say=say)


def cell(answer: Answer, entry: Entry) -> str:
    """The text of a cell: what distio takes, or how many times as much another candidate takes."""
    if not entry.values:
        return entry.failure.partition(":")[0]
    if answer.question.name == "killed-worker":
        return f"{max(entry.middle, 0.0):.2f} s later"
    ours = answer.entries[0]
    if entry is ours or not ours.values:
        return f"{figure(entry.middle)} {answer.question.unit}"
    return f"{two_digits(entry.middle / ours.middle)} ×"


def two_digits(ratio: float) -> str:
    """A ratio, as exact as it is elsewhere."""
    if ratio < 10:
        return f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"
    return f"{round(ratio, 2 - len(str(int(ratio)))):,.0f}"


def table(answers: Sequence[Answer]) -> str:
    """A row for each question, a column for each library."""
    rows = [
        [ROWS[each.question.name], *[cell(each, entry) for entry in each.entries]]
        for each in answers
    ]
    return in_markdown(["", *COLUMNS], rows, remarks=False)


def caption(answers: Sequence[Answer]) -> str:
    """Of what, when and where."""
    entries = [entry for each in answers for entry in each.entries]
    versions = versions_of(sorted({entry.candidate.of for entry in entries} - {"distio"}))
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    loads = [load for each in answers for load in each.load]
    return (
        f"Two workers on {len(os.sched_getaffinity(0))} cores, medians; {named}; distio at "
        f"{revision()}; load of the machine {min(loads):.1f} to {max(loads):.1f}."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser_of("Prints the table of README.").parse_args(arguments)
    size = size_of(options)
    questions = find_questions()
    answers = [asked(questions[name], size) for name in ROWS]
    say("")
    print(table(answers))
    print(caption(answers))
    for answer in answers:
        for entry in answer.entries:
            values = spread(entry.values) if entry.values else entry.failure
            print(f"{answer.question.name}, {entry.name}: {values}", file=sys.stderr)


if __name__ == "__main__":
    main()
