"""What README shows at a glance: distio beside what else calls a function for each item of a list.

    make bench-glance

asks a few of the questions that other files have, and prints the table of README in Markdown, with
the sentence below it. Each peer is asked the same, in its own words, in turns. One that takes too
long is ended, and one that isn't installed is left out; both are said.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.harness.asking import Answer, Entry, ask
from benchmarks.harness.command import parser_of, say, size_of
from benchmarks.harness.machine import revision
from benchmarks.harness.peers import AT_A_GLANCE
from benchmarks.harness.question import Question, Size, find_questions, versions_of
from benchmarks.harness.tables import figure, in_markdown, spread

__all__ = ["COLUMNS", "NAMES", "main"]

COLUMNS: Final = {
    "tiny-calls": "10,000 tiny calls, each",
    "busy-calls": "64 calls of 50 ms",
    "round-trip": "one call, there and back",
    "cold-script": "a script with one call",
    "idle-memory": "memory while idle",
    "killed-worker": "a worker is killed amid 64 calls",
}
"""By question, the head of its column."""
NAMES: Final = AT_A_GLANCE
"""The rows."""
_FORMS: Final = {"µs": "{} µs", "s": "{} s", "MiB": "{} MiB"}
_OURS: Final = {"round-trip": "distio, Executor.submit"}
"""Who stands for distio where a program isn't what the others are asked for."""


def asked(question: Question, size: Size) -> Answer:
    """What those of the table have taken."""
    by_name = {each.name: each for each in question.candidates}
    ours = _OURS.get(question.name, "distio")
    found = [by_name[ours if name == "distio" else name] for name in NAMES]
    return ask(question, size, [Entry(each) for each in found], say=say)


def cell(answer: Answer, entry: Entry) -> str:
    """What stands in the table for one of them."""
    if not entry.values:
        return entry.failure
    middle = median(entry.values)
    if answer.question.name == "killed-worker":
        return f"all results, {max(middle, 0.0):.2f} s later"
    text = _FORMS[answer.question.unit].format(figure(middle))
    ours = answer.entries[0]
    if entry is ours or not ours.values:
        return text
    return f"{text} (× {figure(middle / ours.middle)})"


def table(answers: Sequence[Answer]) -> str:
    """A row for each library, a column for each question."""
    columns = ["", *[COLUMNS[each.question.name] for each in answers]]
    rows = [
        [name, *[cell(each, each.entries[number]) for each in answers]]
        for number, name in enumerate(NAMES)
    ]
    return in_markdown(columns, rows)


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
    answers = [asked(questions[name], size) for name in COLUMNS]
    say("")
    print(table(answers))
    print(caption(answers))
    for answer in answers:
        for entry in answer.entries:
            values = spread(entry.values) if entry.values else entry.failure
            print(f"{answer.question.name}, {entry.name}: {values}", file=sys.stderr)


if __name__ == "__main__":
    main()
