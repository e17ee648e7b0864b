"""The findings of `distio check`: for each run in a journal, the fibers whose code isn't here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from distio.cli.saved import SavedFiber, SavedRun, runs_of
from distio.core.ops.direct import Awaiting
from distio.core.pickling.code_records import Difference
from distio.protocol.text import readable_exception
from distio.runtime.journal.journal import describe
from distio.runtime.journal.reading import reading

__all__ = ["Finding", "Findings", "find"]

_MOST_NAMED: Final = 5
_AGAIN: Final = "can be replayed"


@dataclass
class Finding:
    """The finding for fibers that have the same code, and the same fate."""

    state: str
    """"same", "changed", "gone", "replaced" (something stands in), or "closed" (it can't be opened,
    though its code is here)."""
    differences: list[Difference] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    replay: str = ""
    """The fate of functions of `io.do` that have changed: "can be replayed", or why they can't."""
    fibers: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nobody has to look at it."""
        return self.state == "same" or (self.state == "replaced" and self.replay in ("", _AGAIN))

    def as_data(self) -> dict[str, Any]:
        """The finding as JSON, for programs that read it."""
        code = [
            {
                "name": str(each.record),
                "state": each.state,
                "was": each.record.digest,
                "is": each.now or None,
                "used_by": each.used_by or None,
                "why": each.why_gone or None,
            }
            for each in self.differences
        ]
        return {
            "state": self.state,
            "fibers": self.fibers,
            "code": code,
            "replaced": self.replaced,
            "replay": self.replay or None,
        }

    def lines(self) -> Iterator[str]:
        """The lines for people who read the finding."""
        named = ", ".join(self.fibers[:_MOST_NAMED])
        more = len(self.fibers) - _MOST_NAMED
        count = "fiber" if len(self.fibers) == 1 else f"{len(self.fibers)} fibers"
        yield f"  {self.state}: {count} {named}" + (f" and {more} more" if more > 0 else "")
        for each in self.differences:
            now = f" (it was {each.record.digest}, and is {each.now})" if each.now else ""
            yield f"    {each}{now}"
        for name in self.replaced:
            yield f"    {name} is another, and something stands in for it"
        if self.replay:
            yield f"    what it has awaited {self.replay}"


@dataclass
class Findings:
    """The findings in a journal."""

    journal: Path
    wall_clock: float
    """The time of the journal's last turn, in seconds since 1970; 0: there was none."""
    runs: list[tuple[SavedRun, int, list[Finding]]]
    """Each run, the number of its fibers that have no snapshot, and the findings for the others."""

    @property
    def is_right(self) -> bool:
        """Whether nobody has to look at it."""
        return all(finding.is_right for _, _, findings in self.runs for finding in findings)

    def as_data(self) -> dict[str, Any]:
        """The findings as JSON, for programs that read it."""
        runs = [
            {"run": run.name, "unsaved": unsaved, "findings": [each.as_data() for each in findings]}
            for run, unsaved, findings in self.runs
        ]
        return {"is_right": self.is_right, "runs": runs}

    def lines(self) -> Iterator[str]:
        """The lines for people who read the findings."""
        when = describe(self.wall_clock) if self.wall_clock else "the beginning"
        runs = "1 run" if len(self.runs) == 1 else f"{len(self.runs)} runs"
        yield f"{runs} in the journal in {self.journal}, as it was at {when}"
        for run, unsaved, findings in self.runs:
            yield f"run {run.name}"
            for finding in findings:
                yield from finding.lines()
            if unsaved:
                yield f"  unsaved: {unsaved}, which their workers or their program have"


def find(journal: Path) -> Findings:
    """Compare the code that the fibers in a journal need with that of this process.

    Raises:
        JournalError: the journal can't be read.
    """
    with reading(journal) as moment:
        runs = [(run, run.unsaved, _findings_of(run)) for run in runs_of(moment.machine)]
    return Findings(journal, moment.wall_clock, runs)


def _findings_of(run: SavedRun) -> list[Finding]:
    """The findings for the fibers of a run, those that are alike together."""
    found: dict[tuple[Any, ...], Finding] = {}
    for fiber in run.fibers:
        finding = _finding(fiber)
        key = finding.state, finding.replay, *finding.differences, *finding.replaced
        found.setdefault(key, finding).fibers.append(fiber.label)
    return [*found.values()]


def _finding(fiber: SavedFiber) -> Finding:
    try:
        differences, stand_ins = fiber.compare()
    except Exception as error:  # noqa: BLE001 (whatever unpickling user data raises)
        return Finding("closed", replay=f"can't be looked at: {readable_exception(error)}")
    replaced = [".".join(each) for each in stand_ins]
    states = {each.state for each in differences}
    state = "gone" if "gone" in states else "changed" if states else ""
    state = state or ("replaced" if replaced else "same")
    finding = Finding(state, [*differences], replaced)
    if state in ("changed", "replaced"):
        try:
            opened = fiber.open(stand_ins)
        except Exception as error:  # noqa: BLE001 (the same)
            finding.replay = f"can't be opened: {readable_exception(error)}"
        else:
            awaiting = [frame for frame in opened.stack or () if isinstance(frame, Awaiting)]
            reasons = [reason for frame in awaiting if (reason := frame.why_not_again())]
            if awaiting:
                finding.replay = f"can't be replayed: {reasons[0]}" if reasons else _AGAIN
    return finding
