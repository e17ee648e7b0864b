"""Index a directory of Python sources on all cores.

Every ``.py`` file is tokenised and parsed; what they contain is merged into one report. Files
that can't be read as Python are in the report too, by name and reason.

    python examples/index_sources.py --compare
    python examples/index_sources.py --directory ~/projects --workers 4
    distio run examples/index_sources.py -- ~/projects
"""

from __future__ import annotations

import ast
import heapq
import keyword
import os
import sysconfig
import time
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.util import decode_source
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Column, Table

from distio import IO, Cluster, Ok, io
from distio.io import Fiber

STANDARD_LIBRARY: Final = Path(sysconfig.get_paths()["stdlib"])
FILES_PER_BATCH: Final = 12
TOP: Final = 10


# -- what we want to know: plain data, merged without regard to order ------------------------


@dataclass(frozen=True)
class Function:
    """Where a function is and how many lines it has."""

    lines: int
    file: str
    line: int
    name: str


@dataclass(frozen=True, order=True)
class Failure:
    """A file that is not Python, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class FileReport:
    """The contents of one file."""

    lines: int
    classes: int
    names: Counter[str]
    functions: list[Function]


@dataclass(frozen=True)
class Report:
    """The contents of any number of files."""

    files: int = 0
    lines: int = 0
    classes: int = 0
    functions: int = 0
    names: Counter[str] = field(default_factory=Counter)
    largest: list[Function] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @staticmethod
    def of_file(file: FileReport) -> Report:
        largest = _largest(file.functions)
        return Report(1, file.lines, file.classes, len(file.functions), file.names, largest)

    @staticmethod
    def merge(reports: Iterable[Report]) -> Report:
        """The report on all their files: the same whichever way the files are grouped."""
        parts = list(reports)
        names: Counter[str] = Counter()
        for part in parts:
            names.update(part.names)
        return Report(
            files=sum(part.files for part in parts),
            lines=sum(part.lines for part in parts),
            classes=sum(part.classes for part in parts),
            functions=sum(part.functions for part in parts),
            names=names,
            largest=_largest(function for part in parts for function in part.largest),
            failures=sorted(failure for part in parts for failure in part.failures),
        )

    def totals(self) -> str:
        code = f"{self.lines:,} lines, {self.classes:,} classes, {self.functions:,} functions"
        return f"{self.files:,} files, {code}, {len(self.names):,} different names"

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """The figures that stand out, as rows of a table."""
        for f in self.largest:
            yield "large function", f"{f.lines:,} lines", f"{f.name} ({f.file}:{f.line})"
        for name, times in sorted(self.names.items(), key=lambda n: (-n[1], n[0]))[:TOP]:
            yield "frequent name", f"{times:,} times", name
        for failure in self.failures:
            yield "not Python", "", f"{failure.file}: {failure.reason}"

    def __str__(self) -> str:
        rows = [f"{kind:<16}{amount:>14}  {what}" for kind, amount, what in self.rows()]
        return "\n".join([self.totals(), *rows])


def _largest(functions: Iterable[Function]) -> list[Function]:
    return sorted(functions, key=lambda f: (-f.lines, f.file, f.line, f.name))[:TOP]


# -- from the bytes of a file to its report: pure functions ----------------------------------

INVALID = (SyntaxError, tokenize.TokenError, ValueError, LookupError, RecursionError, MemoryError)
"""Errors of `index_source` for files that are not Python, or nested too deep to parse."""


def parse(text: str) -> ast.Module:
    """Parse, in any number of threads.

    Some versions of CPython count the depth of the tree in one place for all threads: now and
    then two that parse at once stumble over each other ("recursion depth mismatch"), and are
    right the next time.
    """
    for _ in range(20):
        try:
            return ast.parse(text, "<source>")
        except SystemError:
            continue
    return ast.parse(text, "<source>")


def index_source(file: str, source: bytes) -> FileReport:
    """Report the contents of `source`."""
    text = decode_source(source)
    # what is odd about somebody else's sources is none of our business
    warnings.filterwarnings("ignore", module=r"<source>")
    nodes = list(ast.walk(parse(text)))
    tokens = tokenize.generate_tokens(StringIO(text).readline)
    return FileReport(
        lines=text.count("\n") + (not text.endswith("\n") and text != ""),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        names=Counter(
            token.string
            for token in tokens
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        ),
        functions=[
            Function(1 + (node.end_lineno or 0) - node.lineno, file, node.lineno, node.name)
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ],
    )


def in_batches(sizes: dict[str, int]) -> list[list[str]]:
    """Group files so that each batch is about the same work, and worth a message."""
    count = -(-len(sizes) // FILES_PER_BATCH)
    loads: list[tuple[int, int, list[str]]] = [(0, index, []) for index in range(count)]
    for size, file in sorted(((size, file) for file, size in sizes.items()), reverse=True):
        load, index, batch = heapq.heappop(loads)
        batch.append(file)
        heapq.heappush(loads, (load + size, index, batch))
    return [batch for _, _, batch in sorted(loads, reverse=True)]


# -- the program -----------------------------------------------------------------------------


def find_sources(root: Path) -> dict[str, int]:
    """The sizes of all Python files below `root`, installed packages left out."""
    return {
        path.relative_to(root).as_posix(): path.stat().st_size
        for path in root.rglob("*.py")
        if "site-packages" not in path.relative_to(root).parts and path.is_file()
    }


def index_file(root: Path, file: str) -> IO[Any, Failure, FileReport]:
    """Index one file. That it is not Python is to be expected: Errors, not a Panic."""

    def index() -> IO[Any, Failure, FileReport]:
        try:
            return io.pure(index_source(file, (root / file).read_bytes()))
        except (*INVALID, OSError) as error:
            return io.error(Failure(file, f"{type(error).__name__}: {error}"))

    return io.defer_io(index)


def index_batch(root: Path, batch: list[str]) -> IO[Any, Any, Report]:
    """Index some files into one report, which is all that travels back."""

    def index_or_list(file: str) -> IO[Any, Any, Report]:
        return (
            index_file(root, file)
            .map(Report.of_file)
            .catch(lambda failures: io.pure(Report(failures=failures)))
        )

    return io.traverse(batch, index_or_list).map(Report.merge)


def program(root: Path, on_done: Callable[[], None]) -> IO[Any, str, Report]:
    """Index all Python files below `root`.

    Args:
        root: a directory that all workers can read.
        on_done: called for each file that is done. Only this outermost program calls it, and
            it never travels: it may well hold a progress bar.
    """

    def start(sizes: dict[str, int]) -> IO[Any, Any, Report]:
        batches = in_batches(sizes)
        return io.parallel([index_batch(root, batch) for batch in batches]).flat_map(
            lambda fibers: io.traverse(zip(batches, fibers), collect).map(Report.merge)
        )

    def collect(started: tuple[list[str], Fiber[Any, Any, Report]]) -> IO[Any, Any, Report]:
        batch, fiber = started
        return (
            io.wait(fiber)
            .flat_map(lambda results: io.from_result(results[0]))
            .then_keep([io.defer(on_done) for _ in batch])
        )

    if not root.is_dir():
        return io.error(f"{root} is not a directory")
    return io.defer(find_sources, root).flat_map(start)


def main(directory: str = "") -> IO[Any, str, Report]:
    """The program that `distio run` runs."""
    return program(Path(directory or STANDARD_LIBRARY).absolute(), lambda: None)


# -- the script ------------------------------------------------------------------------------

console: Final = Console()


def run_with_bar(title: str, root: Path, threads: int, on: Cluster | None) -> tuple[Report, float]:
    """Run the program; return the report and how many seconds it took."""
    with Progress(console=console) as progress:
        bar = progress.add_task(title, total=len(find_sources(root)))
        start = time.perf_counter()
        result = program(root, lambda: progress.advance(bar)).run(None, threads, on=on)
        seconds = time.perf_counter() - start
    match result:
        case Ok(report):
            return report, seconds
        case failure:
            raise SystemExit(f"{title}: {failure}")


def show(report: Report) -> None:
    table = Table("", Column("how much", justify="right"), "what", title=report.totals())
    for row in report.rows():
        table.add_row(*map(escape, row))
    console.print(table)


def script(
    directory: Annotated[
        Path, typer.Option(exists=True, file_okay=False, resolve_path=True, help="What to index.")
    ] = STANDARD_LIBRARY,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes; 0: threads of this process.")
    ] = len(os.sched_getaffinity(0)),
    threads: Annotated[int, typer.Option(min=1, help="Threads of each process.")] = 1,
    compare: Annotated[bool, typer.Option(help="Run on one thread first.")] = False,
) -> None:
    """Index the Python sources below a directory; by default, the standard library."""
    if compare:
        for file in find_sources(directory):
            (directory / file).read_bytes()  # so that both runs find it in memory
        expected, alone = run_with_bar("one thread", directory, 1, None)

    crew = f"{workers} worker processes" if workers else f"{threads} threads"
    start = time.perf_counter()
    with Cluster.local(workers=workers, threads=threads) if workers else nullcontext() as cluster:
        startup = time.perf_counter() - start
        report, seconds = run_with_bar(crew, directory, threads, cluster)
    show(report)
    console.print(f"{crew}: {startup:.1f} s to start, {seconds:.1f} s to index")

    if compare:
        assert report == expected, "the reports differ"
        faster = f"[bold]{alone / (startup + seconds):.2f} times as fast[/], start included"
        console.print(f"One thread took {alone:.1f} s, so {crew} were {faster}.")
        console.print("Both reports are equal.")


if __name__ == "__main__":
    typer.run(script)
