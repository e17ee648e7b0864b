"""The work tree beside another commit: the same questions, in turns, in one run."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.asking import Entry, Place, ask
from benchmarks.harness.machine import describe_machine, in_words, revision
from benchmarks.harness.question import BENCHMARKS, Question, Size
from benchmarks.harness.tables import in_markdown, spread

__all__ = ["compare"]


def compare(questions: Sequence[Question], size: Size, name: str) -> Iterator[str]:
    """Ask all candidates of distio, here and at a commit.

    Yields:
        The text of a report, question by question: medians, and by which ratio the work tree is
        slower than the commit, round by round, both by the clock and in processor time.
    """
    with _other(name) as other:
        yield f"# The work tree beside {name}\n"
        yield in_words(describe_machine(["Python"])) + "\n"
        yield "A ratio below 1 says that the work tree is faster; (from–to) is by rounds.\n"
        for question in questions:
            ours = question.candidates_for(size, peers=False)
            if ours:
                now = Place("work tree", [BENCHMARKS.parent, BENCHMARKS.parent / "worker"])
                entries = [Entry(each, place) for each in ours for place in (other, now)]
                ask(question, size, entries)
                pairs = zip(entries[::2], entries[1::2])
                rows = [_row(before, after) for before, after in pairs]
                columns = ["", f"{other.name}, {question.unit}", "work tree", "ratio", "processor"]
                table = in_markdown([*columns, "remark"], rows, remarks=True)
                yield f"## {question.name}\n\n{question.asks}\n\n{table}"


@contextmanager
def _other(name: str) -> Iterator[Place]:
    """The files of a commit in a temporary folder, below those of the benchmarks of now.

    An archive of it, as a worktree of git would be left behind in the repository by a kill.

    Raises:
        SystemExit: there is no such commit.
    """
    with TemporaryDirectory() as directory:
        root = Path(directory)
        archive = ["git", "archive", "--format=tar", name, "distio", "worker", "pyproject.toml"]
        done = subprocess.run(archive, cwd=BENCHMARKS.parent, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr.decode().strip()}")
        with tarfile.open(fileobj=BytesIO(done.stdout)) as files:
            files.extractall(root / "tree", filter="data")
        links = root / "links"
        links.mkdir()
        for shared in ("benchmarks", "examples"):
            (links / shared).symlink_to(BENCHMARKS.parent / shared)
        yield Place(revision(name), [links, root / "tree", root / "tree" / "worker"])


def _row(before: Entry, after: Entry) -> list[str]:
    remark = ", ".join(f"{each.name}: {each.failure}" for each in (before, after) if each.failure)
    row = [before.candidate.name]
    row += [spread(each.values) if each.values else "—" for each in (before, after)]
    row += [_ratios(after.values, before.values), _ratios(after.processor, before.processor)]
    return [*row, remark]


def _ratios(after: Sequence[float], before: Sequence[float]) -> str:
    found = [new / old for new, old in zip(after, before) if old > 0]
    return spread(found) if found else ""
