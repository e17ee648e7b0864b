"""Forking: a copy of the coordinator has one of its named runs, which goes on from there.

Rules
-----
- The copy is another coordinator, of another cluster. Ids, locks, queues and variables of the run
  stay as they are, since nobody else is there who could mean others by them.
- To the copy all members are lost. So the run goes on by the rules of recovery: each fiber from its
  snapshot, with the locks that it held then, the replies that it had got, and the outcomes for
  which it may ask. A cut is between two turns, and a snapshot comes in the turn of the effects that
  need it. So what the run shares is as of that moment, too.
- No fiber is suspected of the loss of members.
- Other runs end in the copy, and release what they held. A fiber that waits for one of theirs hears
  that it is lost.
"""

from __future__ import annotations

from typing import Final

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.state.events import Forked
from distio.coordination.state.registry import Run
from distio.protocol.ids import name_of

__all__ = ["CanNotFork", "find_run", "fork"]

_LEVEL: Final = "suspensions"


class CanNotFork(Exception):
    """The run can't go on elsewhere; the message says why, and what can."""


def find_run(machine: Coordinator, wanted: str) -> int:
    """The run that has this name, or is called so in messages.

    Raises:
        CanNotFork: there is none, or a copy couldn't go on with it.
    """
    named = {run.name: id for id, run in machine.runs.items() if run.name}
    ids = {name_of(id): id for id in machine.runs}
    id = named.get(wanted, ids.get(wanted))
    if id is None:
        there = ", ".join(map(repr, named)) or "none"
        raise CanNotFork(f"no run {wanted} goes on there; those with a name that do: {there}")
    if reason := _obstacle(machine.runs[id]):
        raise CanNotFork(f"the run {wanted} can't be forked: {reason}")
    return id


def _obstacle(run: Run) -> str:
    if not run.name:
        return (
            "it has no name, so its root is in the program that has started it, and is saved "
            "nowhere; start it with cluster.submit(..., name=...)"
        )
    if run.snapshots != _LEVEL:
        return (
            f"it keeps {run.snapshots!r} of its fibers, and a fork goes on from their snapshots; "
            f"submit it with snapshots={_LEVEL!r}"
        )
    if run.ending is not None:
        return "it was ending at that moment; take an earlier cut"
    return ""


def fork(machine: Coordinator, run: int, name: str) -> Handshakes:
    """Make a machine, which nobody else uses, the coordinator of one of its runs.

    Args:
        machine: the machine, which is changed.
        run: which run, as `find_run` has found it.
        name: the name of the run from now on.

    Returns:
        The coordinator, which has said nothing to anybody.
    """
    machine.handle(machine.state.now, Forked(run, name))
    return Handshakes(machine, _nobody)


def _nobody(text: str) -> None:
    """Drop the message: members that are lost to the copy alone are told nothing."""
