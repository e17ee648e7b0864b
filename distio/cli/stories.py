"""What `distio inspect` shows: the story of each fiber in a journal, as far as it was saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distio.cli.saved import SavedFiber, SavedRun, runs_of
from distio.coordination.state.registry import NOWHERE
from distio.core.describe import (
    Place,
    describe_holds,
    describe_places,
    describe_wait,
    text_of,
)
from distio.protocol.text import readable_exception
from distio.runtime.journal.journal import describe
from distio.runtime.journal.reading import Moment, NoSuchCut, reading

__all__ = ["NotThere", "Story", "look"]


class NotThere(Exception):
    """There is no such run, fiber or cut; the message says what there is."""


@dataclass
class Story:
    """What is known of a fiber."""

    fiber: str
    name: str | None
    state: str
    """What it does, in words."""
    wakes_at: str | None = None
    """When its sleep ends, by the wall clock of the coordinator."""
    holds: list[str] = field(default_factory=list)
    """The locks that it holds."""
    locals: dict[str, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    """Where it stands: the place at which it goes on first, then those that it returns to."""
    restored: int = 0
    last_loss: str = ""
    closed: str = ""
    """Why its snapshot can't be opened here."""

    def lines(self) -> Iterator[str]:
        """For people who read it."""
        named = f" ({self.name})" if self.name else ""
        until = f", until {self.wakes_at}" if self.wakes_at else ""
        yield f"  fiber {self.fiber}{named}: {self.state}{until}"
        if self.restored:
            times = "once" if self.restored == 1 else f"{self.restored} times"
            yield f"    has gone on elsewhere {times}, the last time since {self.last_loss}"
        for held in self.holds:
            yield f"    holds {held}"
        for name, text in self.locals.items():
            yield f"    local {name} = {text}"
        if self.closed:
            yield f"    its snapshot can't be opened here: {self.closed}"
        for place in self.places:
            function = f" {place.function}" if place.function else ""
            where = f" ({place.where})" if place.where else ""
            yield f"    {place.operation}{function}{where}"
            for name, text in place.values.items():
                yield f"      {name} = {text}"


@dataclass
class Stories:
    """The stories of some runs."""

    when: str
    runs: list[tuple[SavedRun, int, list[Story]]]
    """Each run, how many of its fibers have no snapshot, and the stories of the others."""
    are_listed: bool
    """Whether runs are only listed."""

    def as_data(self) -> dict[str, Any]:
        """For programs that read it."""
        runs = [
            {
                "run": run.name,
                "unsaved": unsaved,
                "fibers": [
                    {**asdict(each), "places": [place._asdict() for place in each.places]}
                    for each in stories
                ],
            }
            for run, unsaved, stories in self.runs
        ]
        return {"when": self.when, "runs": runs}

    def lines(self) -> Iterator[str]:
        """For people who read it."""
        yield f"as it was at {self.when}"
        for run, unsaved, stories in self.runs:
            alive = run.run.alive
            count = "1 fiber goes on" if alive == 1 else f"{alive} fibers go on"
            saved = f"{alive - unsaved} of them saved"
            yield f"run {run.name}: {count}, {saved}"
            for story in stories:
                yield from story.lines()
            if unsaved and not self.are_listed:
                yield f"  {unsaved} more, which their workers or their program have"


def look(journal: Path, run: str | None, fiber: str | None, cut: int | None = None) -> Stories:
    """Look at the fibers of a run, or at one of them; without a run, list all runs.

    Args:
        journal: where they are.
        run: how the run is called in messages.
        fiber: how the fiber is called in messages.
        cut: which cut to look at; None: the last moment.

    Raises:
        JournalError: the journal can't be read.
        NotThere: there is no such run, fiber or cut.
    """
    try:
        return _look(journal, run, fiber, cut)
    except NoSuchCut as error:
        raise NotThere(str(error)) from error


def _look(journal: Path, run: str | None, fiber: str | None, cut: int | None) -> Stories:
    with reading(journal, cut) as moment:
        runs = [*runs_of(moment.machine)]
        if run is not None:
            named = ", ".join(each.name for each in runs) or "none"
            runs = [each for each in runs if each.name == run]
            if not runs:
                at = "" if cut is None else f" at cut {cut}"
                raise NotThere(f"no run {run} goes on in {journal}{at}; those that do: {named}")
        found = [
            (each, each.unsaved, [] if run is None else [*_stories(moment, each, fiber)])
            for each in runs
        ]
        if fiber is not None and not found[0][2]:
            raise NotThere(f"run {run} has no snapshot of a fiber {fiber}")
        when = describe(moment.wall_clock) if moment.wall_clock else "the beginning"
        return Stories(when, found, run is None)


def _stories(moment: Moment, run: SavedRun, fiber: str | None) -> Iterator[Story]:
    for saved in run.fibers:
        if fiber in (None, saved.label):
            yield _story(moment, saved)


def _story(moment: Moment, saved: SavedFiber) -> Story:
    record = saved.record
    name = None if record.rare.group is None else record.rare.group.names.get(saved.id)
    story = Story(saved.label, name, "")
    story.restored, story.last_loss = record.rare.restored, record.rare.last_loss
    wait = ""
    try:
        opened = saved.open(saved.compare().stand_ins)
    except Exception as error:  # noqa: BLE001 (whatever unpickling user data raises)
        story.closed = readable_exception(error)
    else:
        story.name = opened.name or name
        story.holds = describe_holds(opened)
        story.locals = {key: text_of(value) for key, value in (opened.locals or {}).items()}
        story.places = describe_places(opened)
        wait = describe_wait(opened) if saved.snapshot.chunk.is_waiting else ""
    story.state = _state(moment, saved, wait)
    story.wakes_at = _wakes_at(moment, saved)
    return story


def _state(moment: Moment, saved: SavedFiber, wait: str) -> str:
    record = saved.record
    if record.rare.group is not None:
        return wait or "sleeps"
    if record.host == NOWHERE:
        code = saved.snapshot.chunk.code
        is_misfit = code in moment.machine.state.misfits
        return "waits for a worker with its code" if is_misfit else "waits for a worker"
    host = moment.machine.members.get(record.host)
    where = f"at {host.name()}" if host is not None else "at a member that is gone"
    if moment.machine.features.timers.deadline_of(saved.id) is not None:
        return f"sleeps, {where}"
    if wait and record.rare.reply is None:
        return f"{wait}, {where}"
    if wait:
        return f"has got what it waited for when it was saved, and went on {where}"
    how = "went on" if saved.snapshot.is_saved else "came"
    return f"was saved as it {how} {where}"


def _wakes_at(moment: Moment, saved: SavedFiber) -> str | None:
    """When the sleep of a fiber ends, on the wall clock."""
    machine, record = moment.machine, saved.record
    deadline = record.rare.wakes_at
    if record.rare.group is not None:
        deadline = record.rare.group.deadline_of(saved.id)
    elif machine.features.timers.deadline_of(saved.id) is not None:
        deadline = machine.features.timers.deadline_of(saved.id)
    if deadline is None:
        return None
    return describe(moment.wall_clock + deadline - machine.state.now)
