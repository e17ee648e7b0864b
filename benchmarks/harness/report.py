"""The report: all questions, with a picture each, and what the other scripts print."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.asking import HERE, Answer, Entry, ask, bounded_run
from benchmarks.harness.machine import describe_machine, in_words
from benchmarks.harness.pictures import draw
from benchmarks.harness.question import BENCHMARKS, Question, Size, find_questions
from benchmarks.harness.tables import cells, columns, in_markdown, title

__all__ = ["find_scripts", "write_report"]

_NO_PART: Final = {"__init__", "__main__", "_timing", "glance", "soak"}
"""Files that the report leaves out: `make bench-glance` and `make soak` run two of them."""
_SCRIPT_SECONDS: Final = 900.0
"""A script that takes longer is ended."""


def write_report(
    questions: Sequence[Question],
    size: Size,
    directory: Path,
    *,
    scripts: bool,
    peers: bool = True,
) -> None:
    """Ask the questions, and write `report.md`, `report.json`, and a picture each.

    The part that is there is written after each question, so that a report that is interrupted
    isn't lost.
    """
    machine = describe_machine(sorted({each.of for one in questions for each in one.candidates}))
    began = time.monotonic()
    answers: list[Answer] = []
    printed: dict[str, str] = {}

    def write() -> None:
        text = _page(machine, size, answers, printed, time.monotonic() - began)
        (directory / "report.md").write_text(text)
        found = {
            "machine": machine,
            "size": size,
            "answers": [each.as_json() for each in answers],
            "scripts": printed,
        }
        (directory / "report.json").write_text(json.dumps(found, indent=1) + "\n")

    (directory / "report").mkdir(parents=True, exist_ok=True)
    for old in (directory / "report").glob("*.svg"):
        old.unlink()
    for question in questions:
        if not (candidates := question.candidates_for(size, peers=peers)):
            continue
        _tell(question.name)
        entries = [Entry(each) for each in candidates]
        answers.append(ask(question, size, entries))
        draw(answers[-1], _picture(directory, question))
        write()
    for name in find_scripts() if scripts else []:
        _tell(name)
        printed[name] = _output_of(name)
        write()


def _tell(name: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)


def _picture(directory: Path, question: Question) -> Path:
    return directory / "report" / f"{question.name}.svg"


def _output_of(script: str) -> str:
    """The output of a script."""
    command = [sys.executable, "-m", f"benchmarks.{script}"]
    done = bounded_run(command, HERE, _SCRIPT_SECONDS)
    return done or f"takes more than {_SCRIPT_SECONDS:.0f} s"


def find_scripts() -> list[str]:
    """The files that print tables of their own.

    Their questions have no peers, or a course that isn't that of a question.
    """
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    asked = {Path(each.file).stem for each in find_questions().values()}
    return sorted(names - asked - _NO_PART)


# -- the page ---------------------------------------------------------------------------------


def _page(
    machine: dict[str, Any],
    size: Size,
    answers: Iterable[Answer],
    printed: dict[str, str],
    seconds: float,
) -> str:
    looked = "`make bench`" if size == "full" else "`make bench QUICK=1`, a first look at less work"
    parts = [
        "# Report of the benchmarks\n",
        f"Written by {looked}, in {seconds / 60:.0f} minutes. {in_words(machine)}\n",
        "Less is better in all tables. Candidates are measured in turns, each in processes of its "
        "own; a cell has the median of the rounds, and their minimum and maximum. `times` is how "
        "many times as long as the first line a candidate takes. The processor time is that of all "
        "processes of the candidate in a round: work of others on the machine changes it less.\n",
    ]
    parts += [_section(each) for each in answers]
    for name, text in printed.items():
        parts.append(f"## `benchmarks/{name}.py`\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _section(answer: Answer) -> str:
    question = answer.question
    lines = [f"## {question.name}\n", f"{title(answer)}.", question.says]
    lines += [f"Goal: {question.goal}." if question.goal else ""]
    lines += [f"Load: {answer.load[0]:.1f} before, {answer.load[1]:.1f} after."]
    text = "\n".join(line for line in lines if line)
    table = in_markdown(columns(answer), cells(answer), remarks=True)
    picture = ""
    if any(each.values for each in answer.entries):
        picture = f"\n![{question.name}](report/{question.name}.svg)\n"
    return f"{text}\n\n{table}{picture}"
