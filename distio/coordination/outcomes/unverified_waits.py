"""Unverified waits: members wait for a fiber that never left its maker.

Rules
-----
- The coordinator has no record of such a fiber. The fiber's id names its maker, but not its run. If
  the fiber had moved before its record was dropped, the member that keeps its handle counts as its
  maker.
- The coordinator can't verify that the fiber belongs to the asker's run; only the maker can. The
  maker answers for fibers of the run that is named, and reports any other fiber as unknown.
- An unverified wait belongs to the run of the asker, and ends with that run. So a wrong one, by a
  fiber that got a handle of another run, miscounts nothing of the run that has the fiber.
- When the fiber leaves its maker, the unverified wait of the fiber's own run becomes its record.
  Members that wait for it in the name of another run hear that the fiber is unknown to that run.
- An unverified wait is kept until the maker has answered, or is lost.
- An outcome goes to all members that wait for the fiber. If a wrong wait hasn't been refused by
  then, its run gets the outcome, which harms nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized

from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import FiberRecord, Run
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.endings import UNKNOWN
from distio.protocol.ids import name_of

__all__ = ["UnverifiedWaits"]


class UnverifiedWaits(CoordinatorFeature):
    """All unverified waits, by fiber and run."""

    def __init__(self, state: CoordinatorState, references: References) -> None:
        self._state = state
        self._references = references
        self._waits: dict[int, dict[int, FiberRecord]] = {}
        self._of_run: dict[int, dict[int, dict[int, None]]] = {}
        """By run, and by maker: the fibers that its unverified waits are for."""

    def __len__(self) -> int:
        return len(self._waits) + len(self._of_run)

    def make(self, asker: int, id: int, run: Run, fiber: int) -> FiberRecord | None:
        """Make, or find, the unverified wait of a run for a fiber without a record.

        Returns:
            None if the fiber can't be there: the maker is gone, has no part in this run, or is the
            member that asks, which would know the fiber.
        """
        home = self._references.host_of(id, fiber)
        if home == asker or home not in self._state.members or home not in run.members:
            return None
        of_fiber = self._waits.setdefault(fiber, {})
        if id not in of_fiber:
            of_fiber[id] = FiberRecord(id, home, 0)
            self._of_run.setdefault(id, {}).setdefault(home, {})[fiber] = None
        return of_fiber[id]

    def adopt(self, id: int, fiber: int) -> FiberRecord | None:
        """The maker says that a fiber of this run leaves: return the wait of this run, if any."""
        of_fiber = self._waits.get(fiber)
        if of_fiber is None:
            return None
        own = of_fiber.get(id)
        for run, wait in list(of_fiber.items()):
            self._drop(fiber, run)
            if run != id:
                self._tell(wait, m.FiberLost(fiber, "", UNKNOWN, run))
        return own

    def delivered(self, host: int, fiber: int) -> list[int]:
        """The maker has sent the outcome: end the waits, and return the members that waited."""
        waiters: dict[int, None] = {}
        for run, wait in list(self._waits.get(fiber, {}).items()):
            if wait.host == host:
                self._state.runs[run].note_progress()
                waiters.update(dict.fromkeys(wait.waiters))
                self._drop(fiber, run)
        return list(waiters)

    def refused(self, host: int, id: int, fiber: int) -> bool:
        """The maker has no such fiber of this run: end the wait; False if there is none."""
        wait = self._waits.get(fiber, {}).get(id)
        if wait is None or wait.host != host:
            return False
        self._state.runs[id].note_progress()
        self._drop(fiber, id)
        self._tell(wait, m.FiberLost(fiber, "", UNKNOWN, id))
        return True

    def makers(self, id: int) -> Iterable[int]:
        """The members for whose fibers the unverified waits of this run are."""
        return self._of_run.get(id, ())

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """End the waits for fibers that the lost member has made."""
        worker = lost.name()
        for id in lost.runs:
            for fiber in [*self._of_run.get(id, {}).get(lost.id, ())]:
                self._tell(self._waits[fiber][id], m.FiberLost(fiber, worker, reason))
                self._drop(fiber, id)

    def run_ended(self, id: int, run: Run) -> None:
        """End the waits of the run: none of its fibers is left."""
        for fibers in [*self._of_run.get(id, {}).values()]:
            for fiber in [*fibers]:
                self._drop(fiber, id)

    def _tell(self, wait: FiberRecord, message: m.FiberLost) -> None:
        for waiter in wait.waiters:
            self._state.say_lost(waiter, message)

    def _drop(self, fiber: int, run: int) -> None:
        home = self._waits[fiber].pop(run).host
        if not self._waits[fiber]:
            del self._waits[fiber]
        of_run = self._of_run[run]
        del of_run[home][fiber]
        if not of_run[home]:
            del of_run[home]
        if not of_run:
            del self._of_run[run]

    def validate(self) -> None:
        """Check that the run of each wait and the maker are there."""
        for id, makers in self._of_run.items():
            if id not in self._state.runs:
                raise DistioBug(f"an unverified wait outlives run {name_of(id)}")
            if not makers.keys() <= self._state.members.keys():
                raise DistioBug(f"an unverified wait of run {name_of(id)} outlives a maker")
            for home, fibers in makers.items():
                for fiber in fibers:
                    if fiber in self._state.fibers:
                        raise DistioBug(
                            f"fiber {name_of(fiber)} has a record and an unverified wait"
                        )
                    if self._waits[fiber][id].host != home:
                        raise DistioBug(f"the wait for fiber {name_of(fiber)} is miscounted")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"unverified waits": self}
