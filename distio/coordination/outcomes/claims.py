"""Fibers that never left their maker, and that others ask for.

Rules
-----
- The coordinator has no record of such a fiber, and its id tells its maker, but not its run. If the
  fiber had moved before its record was dropped, the member that keeps its handle is taken for its
  maker. That the fiber is one of the asker's run is a claim, which only the maker can judge: it
  answers for the fibers of the run that is named, and says of any other that it is unknown.
- A claim belongs to the run that makes it, and ends with it. So a wrong claim, by a fiber that got
  a handle of another run, miscounts nothing of the run to which the handle's fiber belongs.
- When the fiber leaves its maker, the claim of its own run becomes its record; who made another is
  told that the fiber is unknown to it.
- A claim is kept as long as somebody waits because of it, or the maker may not have heard yet that
  the fiber is to be cancelled.
- An outcome goes to all who wait for the fiber. If a false claim hasn't been judged by then, its
  maker has the outcome instead of the word that there is none for it: nobody is harmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from distio.coordination.state.registry import FiberRecord, Run
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import name_of

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator

__all__ = ["UNKNOWN", "Claims"]

UNKNOWN: Final = (
    "the run is over, or the process that started the fiber is gone; "
    "wait for a fiber in the run that started it"
)


class Claims:
    """All claims, by fiber and run."""

    def __init__(self, machine: Coordinator) -> None:
        self._machine = machine
        self._claims: dict[int, dict[int, FiberRecord]] = {}
        self._of_run: dict[int, set[int]] = {}
        """By run: the fibers that it claims."""

    def __len__(self) -> int:
        return len(self._claims) + len(self._of_run)

    def make(self, asker: int, id: int, run: Run, fiber: int) -> FiberRecord | None:
        """Claim a fiber without a record for a run, or find the claim.

        Returns:
            None if it can't be: the maker is gone, has nothing of this run, or asks itself, who
            would know.
        """
        home = self._machine.references.host_of(id, fiber)
        if home == asker or home not in self._machine.members or home not in run.members:
            return None
        of_fiber = self._claims.setdefault(fiber, {})
        if id not in of_fiber:
            of_fiber[id] = FiberRecord(id, home, 0)
            self._of_run.setdefault(id, set()).add(fiber)
        return of_fiber[id]

    def adopt(self, id: int, fiber: int) -> FiberRecord | None:
        """The fiber leaves its maker, who says that it is one of this run's: its claim, if any."""
        of_fiber = self._claims.get(fiber)
        if of_fiber is None:
            return None
        own = of_fiber.get(id)
        for run, claim in list(of_fiber.items()):
            self._drop(fiber, run)
            if run != id:
                self._tell(claim, m.FiberLost(fiber, "", UNKNOWN, run))
        return own

    def delivered(self, host: int, fiber: int) -> list[int]:
        """The maker has sent the outcome: the members that wait for it, and do so no longer."""
        waiters: dict[int, None] = {}
        for run, claim in list(self._claims.get(fiber, {}).items()):
            if claim.host == host:
                self._machine.runs[run].note_progress()
                waiters.update(dict.fromkeys(claim.waiters))
                self._drop(fiber, run)
        return list(waiters)

    def refused(self, host: int, id: int, fiber: int) -> bool:
        """The maker says that the fiber is unknown to it in this run; False if nobody asks."""
        claim = self._claims.get(fiber, {}).get(id)
        if claim is None or claim.host != host:
            return False
        self._machine.runs[id].note_progress()
        self._drop(fiber, id)
        self._tell(claim, m.FiberLost(fiber, "", UNKNOWN, id))
        return True

    def of_run(self, id: int) -> list[FiberRecord]:
        """The claims of this run."""
        return [self._claims[fiber][id] for fiber in self._of_run.get(id, ())]

    def member_gone(self, lost: int, worker: str, reason: str) -> None:
        """What this member has made is lost, and it waits for nothing any more."""
        for id, fibers in list(self._of_run.items()):
            for fiber in list(fibers):
                claim = self._claims[fiber][id]
                if lost in claim.waiters:
                    claim.waiters.remove(lost)
                if claim.host == lost:
                    self._tell(claim, m.FiberLost(fiber, worker, reason))
                if claim.host == lost or not (claim.waiters or claim.pending_cancels):
                    self._drop(fiber, id)

    def run_gone(self, id: int) -> None:
        """Nobody is left in this run to claim anything."""
        for fiber in list(self._of_run.get(id, ())):
            self._drop(fiber, id)

    def _tell(self, claim: FiberRecord, message: m.FiberLost) -> None:
        for waiter in claim.waiters:
            if waiter in self._machine.members:
                self._machine.send(waiter, message)

    def _drop(self, fiber: int, run: int) -> None:
        del self._claims[fiber][run]
        if not self._claims[fiber]:
            del self._claims[fiber]
        self._of_run[run].remove(fiber)
        if not self._of_run[run]:
            del self._of_run[run]

    def validate(self) -> None:
        """Check that who claims is there, and of whom.

        Raises:
            DistioBug: something isn't.
        """
        members = self._machine.members
        for id, fibers in self._of_run.items():
            if id not in self._machine.runs:
                raise DistioBug(f"what it claims outlives run {name_of(id)}")
            for fiber in fibers:
                if fiber in self._machine.fibers:
                    raise DistioBug(f"fiber {name_of(fiber)} has a record, and is claimed")
                claim = self._claims[fiber][id]
                if not members.keys() >= {claim.host, *claim.waiters}:
                    raise DistioBug(f"fiber {name_of(fiber)} is claimed of or by a lost member")
