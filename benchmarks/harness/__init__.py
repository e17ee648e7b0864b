"""The machinery of all benchmarks: questions, the processes that answer them, reports."""

from __future__ import annotations

from benchmarks.harness.asking import Answer, ask
from benchmarks.harness.command import main
from benchmarks.harness.question import Candidate, Measure, Question, Size, Start, versions_of

__all__ = [
    "Answer",
    "Candidate",
    "Measure",
    "Question",
    "Size",
    "Start",
    "ask",
    "main",
    "versions_of",
]
