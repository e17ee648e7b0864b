"""An answer as a table, in a terminal or in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.harness.asking import Answer, Entry, count_for

__all__ = ["cells", "columns", "figure", "in_markdown", "spread", "title"]


def figure(value: float) -> str:
    """Three digits that count."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """The median, and from where to where it went."""
    if len(values) == 1:
        return figure(values[0])
    return f"{figure(median(values))} ({figure(min(values))}–{figure(max(values))})"


def title(answer: Answer) -> str:
    """The title of an answer: the question, its unit, and how the values are shown."""
    return f"{answer.question.asks} {answer.question.unit}, median (min–max)"


def columns(answer: Answer) -> list[str]:
    return ["", answer.question.unit, "times", "processor, s a round", "remark"]


def cells(answer: Answer) -> list[list[str]]:
    """A row for each candidate; `times` is how many times as long as the first one it takes."""
    first = next((each for each in answer.entries if each.values), None)
    return [_row(answer, each, first) for each in answer.entries]


def _row(answer: Answer, entry: Entry, first: Entry | None) -> list[str]:
    count = count_for(entry.candidate, answer.question, answer.size)
    remarks = [f"of {count:,}"] if count != answer.question.count("full") else []
    remarks += [entry.failure] if entry.failure else []
    if not entry.values or first is None:
        return [entry.name, "—", "", "", ", ".join(remarks)]
    ratio = f"{entry.middle / first.middle:.2f}" if first.middle > 0 else ""
    used = figure(median(entry.processor))
    return [entry.name, spread(entry.values), ratio, used, ", ".join(remarks)]


def in_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], *, remarks: bool) -> str:
    """A table whose columns are numbers, but the first one, and the last one if it has remarks."""
    rules = ["---", *["---:"] * (len(columns) - 1)]
    rules[-1] = "---" if remarks else "---:"
    lines = [columns, rules, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
