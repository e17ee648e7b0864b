"""The commands: one file's questions, a report of all of them, a comparison with a commit."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness.asking import Answer, Entry, ask
from benchmarks.harness.question import Question, Size, find_questions
from benchmarks.harness.tables import cells, columns, title

__all__ = ["all_questions", "chosen", "main", "parser_of", "say", "show_answer", "size_of"]


def main(questions: Sequence[Question], arguments: Sequence[str] | None = None) -> None:
    """Ask the questions of one file, and print a table for each."""
    parser = parser_of("Asks the questions of this file.")
    parser.add_argument("names", nargs="*", metavar="QUESTION", help="all, if none is named")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line instead")
    options = parser.parse_args(arguments)
    size = size_of(options)
    for question in chosen(questions, options.names):
        if not question.count(size):
            continue
        candidates = question.candidates_for(size, peers=not options.no_peers)
        answer = ask(question, size, [Entry(each) for each in candidates], say=say)
        if options.json:
            print(json.dumps(answer.as_json()), flush=True)
        else:
            show_answer(answer)


def parser_of(description: str) -> argparse.ArgumentParser:
    """The options that all commands have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="ask for less, and less often")
    parser.add_argument("--tiny", action="store_true", help="only see that it can be asked")
    parser.add_argument("--no-peers", action="store_true", help="measure distio alone")
    return parser


def size_of(options: Any) -> Size:
    return "tiny" if options.tiny else "quick" if options.quick else "full"


def chosen(questions: Sequence[Question], names: Sequence[str]) -> list[Question]:
    """The questions of these names, all if there are none.

    Raises:
        SystemExit: there is no question of a name.
    """
    by_name = {each.name: each for each in questions}
    if missing := [name for name in names if name not in by_name]:
        raise SystemExit(f"no question {missing[0]!r}; there are: {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else list(questions)


def all_questions(names: Sequence[str], size: Size) -> list[Question]:
    """The questions of all files that are asked at this size."""
    found = chosen(list(find_questions().values()), names)
    return [each for each in found if each.count(size)]


def say(what: str) -> None:
    """Tell a person who waits what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{what}")
        sys.stderr.flush()


def show_answer(answer: Answer) -> None:
    """Print its table."""
    say("")
    table = Table(*columns(answer))
    for row in cells(answer):
        table.add_row(*row)
    console = Console(width=110)
    console.print(title(answer), highlight=False)
    if answer.question.goal:
        console.print(f"Goal: {answer.question.goal}", highlight=False)
    console.print(table)
    for each in answer.entries:
        if each.said:
            console.print(f"{each.name}: {each.said}", highlight=False, markup=False)
