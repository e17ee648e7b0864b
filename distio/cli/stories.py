"""The stories of `distio inspect`: one for each fiber of a run, as far as it was saved.

The run comes from a journal, or from a coordinator that lives. That one has members, which tell of
the fibers that nobody has saved where these stand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distio.cli.observe import id_of, run_called, runs_in
from distio.cli.saved import SavedFiber, SavedRun, run_in, runs_of
from distio.cli.views import lines_of_missing
from distio.coordination.overview.text import key_of, shown, wait_of
from distio.core.describe import (
    Place,
    describe_holds,
    describe_places,
    describe_wait,
    text_of,
)
from distio.protocol.ids import name_of
from distio.protocol.messages.overview import FiberSaved, FiberTold
from distio.protocol.text import readable_exception
from distio.runtime.journal.journal import describe
from distio.runtime.journal.reading import NoSuchCut, reading
from distio.runtime.observing import COORDINATOR, Dump, Observer

__all__ = ["NotThere", "Stories", "Story", "look", "look_at"]


class NotThere(Exception):
    """Raised for a run, fiber or cut that doesn't exist; the message says which exist."""


@dataclass
class Story:
    """The story of a fiber."""

    fiber: str
    name: str | None
    state: str
    """The state of the fiber, in words."""
    wakes_at: str | None = None
    """When its sleep ends, by the wall clock of the coordinator's journal, or of this process."""
    holds: list[str] = field(default_factory=list)
    """The locks that it holds."""
    locals: dict[str, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    """The places at which the fiber stands: where it goes on first, then those that it returns
    to."""
    restored: int = 0
    last_loss: str = ""
    closed: str = ""
    """The reason why the fiber's snapshot can't be opened here."""
    unsaved: str = ""
    """The reason why the fiber has no snapshot; then its member tells the rest, and no values."""

    def lines(self) -> Iterator[str]:
        """The lines for people who read the story."""
        named = f" ({self.name})" if self.name else ""
        until = f", until {self.wakes_at}" if self.wakes_at else ""
        yield f"  fiber {self.fiber}{named}: {self.state}{until}"
        if self.restored:
            times = "once" if self.restored == 1 else f"{self.restored} times"
            yield f"    has gone on elsewhere {times}, the last time since {self.last_loss}"
        if self.unsaved:
            yield f"    isn't saved: {self.unsaved}"
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
class RunStories:
    """The stories of a run."""

    run: SavedRun
    stories: Sequence[Story]
    untold: int
    """How many of its fibers have no story here."""


@dataclass
class Stories:
    """The stories of some runs."""

    when: str
    runs: Sequence[RunStories]
    are_listed: bool = False
    """Whether runs are only listed."""
    missing: Sequence[str] = ()
    """The members that haven't told all that they have."""

    def as_data(self) -> dict[str, Any]:
        """The data for programs that read the stories."""
        runs = [
            {
                "run": each.run.name,
                "unsaved": each.run.unsaved,
                "fibers": [
                    {**asdict(story), "places": [place._asdict() for place in story.places]}
                    for story in each.stories
                ],
            }
            for each in self.runs
        ]
        return {"when": self.when, "runs": runs, "missing": [*self.missing]}

    def lines(self) -> Iterator[str]:
        """The lines for people who read the stories."""
        yield f"as it was at {self.when}"
        for each in self.runs:
            alive = each.run.alive
            count = "1 fiber goes on" if alive == 1 else f"{alive} fibers go on"
            yield f"run {each.run.name}: {count}, {max(0, alive - each.run.unsaved)} of them saved"
            for story in each.stories:
                yield from story.lines()
            if each.untold and not self.are_listed:
                yield f"  {each.untold} more, which their workers or their program have"
        yield from self.missing


def look(journal: Path, run: str | None, fiber: str | None, cut: int | None = None) -> Stories:
    """Look into a journal at the fibers of a run, or at one of them; without a run, list all runs.

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
        found = []
        for each in runs:
            stories = [] if run is None else [*_stories(each, fiber, moment.wall_clock)]
            found.append(RunStories(each, stories, each.unsaved))
        if fiber is not None and not found[0].stories:
            raise NotThere(f"run {run} has no snapshot of a fiber {fiber}")
        when = describe(moment.wall_clock) if moment.wall_clock else "the beginning"
        return Stories(when, found, run is None)


def look_at(observer: Observer, run: str | None, fiber: str | None, seconds: float) -> Stories:
    """Look into a cluster at the fibers of a run, or at one of them.

    Args:
        observer: asks the coordinator what it keeps, and members about what isn't saved.
        run: the name of the run, or how it is called in messages.
        fiber: how the fiber is called in messages.
        seconds: how long a member may take for each page.

    Raises:
        ClusterError: the coordinator doesn't answer.
        NoSuchRun: there is no such run.
        NotThere: no run is named, or there is no such fiber.
    """
    overview = observer.overview()
    if run is None:
        raise NotThere(f"say which run is to be shown; those that go on: {runs_in(overview)}")
    id, one = run_called(run, overview), None if fiber is None else id_of(fiber)
    if fiber is not None and one is None:
        raise NotThere(f"{fiber!r} is no fiber; fibers are called like 2.7")
    now = time.time()
    saved = run_in(id, observer.saved(id, one))
    if saved is None:
        raise NotThere(f"run {run} has ended meanwhile")
    stories = [*_stories(saved, fiber, now)]
    dump = Dump()
    if (not stories) if one is not None else saved.unsaved:
        dump = observer.dump(id, seconds)
        stories += _unsaved(saved, dump, one)
    missing = [*lines_of_missing(dump)]
    if one is not None and not (stories or missing):
        raise NotThere(f"run {run} has no fiber {fiber} that goes on")
    return Stories(describe(now), [RunStories(saved, stories, 0)], missing=missing)


def _stories(run: SavedRun, fiber: str | None, wall_clock: float) -> Iterator[Story]:
    for saved in run.fibers:
        if fiber in (None, saved.label):
            yield _story(saved, wall_clock)


def _story(saved: SavedFiber, wall_clock: float) -> Story:
    told = saved.told
    story = _begun(told)
    wait = ""
    try:
        opened = saved.open(saved.compare().stand_ins)
    except Exception as error:  # noqa: BLE001 (whatever unpickling user data raises)
        story.closed = readable_exception(error)
    else:
        story.name = opened.name or story.name
        story.holds = describe_holds(opened)
        story.locals = {key: text_of(value) for key, value in (opened.locals or {}).items()}
        story.places = describe_places(opened)
        wait = describe_wait(opened) if saved.snapshot.is_waiting else ""
    story.state = _state(saved, wait)
    if told.wakes_in is not None:
        story.wakes_at = describe(wall_clock + told.wakes_in)
    return story


def _begun(told: FiberSaved) -> Story:
    """Begin the story of a fiber without a look into its snapshot."""
    story = Story(name_of(told.fiber), told.name or None, "")
    story.restored, story.last_loss = told.restored, told.last_loss
    return story


def _state(saved: SavedFiber, wait: str) -> str:
    told = saved.told
    if not told.at:
        if told.is_asleep:
            return wait or "sleeps"
        return f"waits for a worker{' with its code' if told.is_misfit else ''}"
    where = f"at {told.at}"
    if told.is_asleep:
        return f"sleeps, {where}"
    if wait and not told.is_answered:
        return f"{wait}, {where}"
    if wait:
        return f"has got what it waited for when it was saved, and went on {where}"
    how = "went on" if saved.snapshot.is_taken else "came"
    return f"was saved as it {how} {where}"


# -- fibers that aren't saved -----------------------------------------------------------------


def _unsaved(run: SavedRun, dump: Dump, one: int | None) -> Iterator[Story]:
    """The stories of fibers without a snapshot, by what their members and the coordinator tell."""
    known = {each.fiber: each for each in run.told}
    for fiber in dict.fromkeys([*known, *dump.fibers]):
        saved = known.get(fiber)
        if one in (None, fiber) and (saved is None or not saved.snapshot):
            member, told = dump.fibers.get(fiber, ("", None))
            yield _unsaved_story(run, fiber, saved, member, told)


def _unsaved_story(
    run: SavedRun, fiber: int, saved: FiberSaved | None, member: str, told: FiberTold | None
) -> Story:
    """Tell what the coordinator knows of a fiber, and what the member tells that has it."""
    story = Story(name_of(fiber), None, "")
    if saved is not None:
        story = _begun(saved)
        story.state = f"is at {saved.at}" if saved.at else "waits for a place"
        member = member or saved.at
    if told is not None:
        story.name = shown(told.name) or story.name
        at = "" if member == COORDINATOR else f", at {shown(member)}"
        story.state = f"{wait_of(told)}{at}"
        story.holds = [f"lock {key_of(key)}" for key in told.holds]
        if told.function:
            story.places = [Place("stands in", shown(told.function), shown(told.where))]
    story.unsaved = _why(run, saved, member)
    return story


def _why(run: SavedRun, saved: FiberSaved | None, member: str) -> str:
    if run.keeps == "off":
        return "the coordinator keeps no snapshots of this run"
    if member and member == run.owner:
        return "it is at the client of its run, and ends with that"
    if saved is not None and saved.unsaved:
        return shown(saved.unsaved)
    return "nobody but its worker has seen it; it is saved with the fiber that has started it"
