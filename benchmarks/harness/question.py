"""A question, and the candidates that answer it.

A file of `benchmarks` that has a list `QUESTIONS` is part of the report. A candidate is measured in
a process of its own, in which its module is imported anew: so it may start threads, workers or an
engine, and whatever it does to its process is no concern of the others.
"""

from __future__ import annotations

import ast
import platform
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Final, Literal

__all__ = [
    "BENCHMARKS",
    "Candidate",
    "Measure",
    "Question",
    "Size",
    "Start",
    "each_time",
    "find_questions",
    "versions_of",
]

BENCHMARKS: Final = Path(__file__).resolve().parents[1]
_SLOW_TO_START: Final = {"distributed", "ray"}
"""Their candidates take seconds to start, so they are left out at a first look."""

Size = Literal["full", "quick", "tiny"]
"""How much is asked: for a report, for a first look, or to see that the question can be asked."""

Measure = Callable[[], float]
"""Does the work once; returns what it took, in the unit of the question."""
Start = Callable[[int], AbstractContextManager[Measure]]
"""Prepares for so much work, outside of what is measured."""


@dataclass(frozen=True)
class Candidate:
    """One of the candidates that are compared."""

    name: str
    start: Start
    of: str = "distio"
    """The distribution that it is a part of: a candidate whose package is missing is left out."""
    share: float = 1.0
    """The part of the work that is enough to know how long each piece takes."""

    @property
    def version(self) -> str | None:
        """The version of its distribution; None, if that isn't installed."""
        return versions_of([self.of]).get(self.of)


@dataclass(frozen=True)
class Question:
    """A question to all candidates. Less is better."""

    file: str
    """The file that has it, as `__file__`: a candidate's process imports that as a module."""
    name: str
    """As commands and files have it, such as `round-trip`."""
    asks: str
    unit: str
    candidates: Sequence[Candidate]
    counts: tuple[int, int, int]
    """How much work that is: in full, for a first look, to see that it can be asked.

    With 0, the question isn't asked then: another one of the file does for it.
    """
    rounds: int = 5
    warms_up: bool = True
    """Whether what each candidate does first isn't counted."""
    limit: float = 60.0
    """A candidate that takes longer than so many seconds, to start or for one round, is ended."""
    goal: str = ""
    says: str = ""
    """The remark that a reader should know with the figures."""

    @property
    def module(self) -> str:
        path = Path(self.file).resolve().relative_to(BENCHMARKS.parent)
        return ".".join(path.with_suffix("").parts)

    def count(self, size: Size) -> int:
        return dict(zip(("full", "quick", "tiny"), self.counts))[size]

    def candidates_for(self, size: Size, *, peers: bool = True) -> list[Candidate]:
        """The candidates that are asked."""
        if not peers:
            return [each for each in self.candidates if each.of == "distio"]
        left_out = _SLOW_TO_START if size == "quick" else set()
        return [each for each in self.candidates if each.of not in left_out]

    def rounds_of(self, size: Size) -> int:
        return {"full": self.rounds, "quick": min(2, self.rounds), "tiny": 1}[size]


def each_time(measure: Callable[[int], float]) -> Start:
    """A candidate that needs no preparation."""

    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        yield lambda: measure(count)

    return start


def find_questions() -> dict[str, Question]:
    """By name, the questions of all files that have some."""
    found: dict[str, Question] = {}
    for path in sorted(BENCHMARKS.glob("*.py")):
        if _has_questions(path):
            for question in import_module(f"benchmarks.{path.stem}").QUESTIONS:
                assert question.name not in found, f"two questions are named {question.name}"
                found[question.name] = question
    return found


def _has_questions(path: Path) -> bool:
    """Whether a file has the list, seen without importing it: it may need what isn't installed."""
    targets: list[ast.expr] = []
    for each in ast.parse(path.read_text()).body:
        if isinstance(each, ast.Assign):
            targets += each.targets
        elif isinstance(each, ast.AnnAssign):
            targets.append(each.target)
    return any(isinstance(each, ast.Name) and each.id == "QUESTIONS" for each in targets)


def versions_of(distributions: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed; `Python` is one, and so is distio itself."""
    found = {}
    for name in distributions:
        if name == "Python":
            found[name] = platform.python_version()
        elif name == "distio":
            project = tomllib.loads((BENCHMARKS.parent / "pyproject.toml").read_text())["project"]
            found[name] = project["version"]
        else:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
    return found
