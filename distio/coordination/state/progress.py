"""News of a member that the coordinator doesn't know yet: gathered here, and told at once."""

from __future__ import annotations

from distio.coordination.state.local_run import LocalRun
from distio.core.outcomes import Leaving
from distio.protocol import messages as m

__all__ = ["ProgressReport"]


class ProgressReport:
    """Counts and lists that grow until they are told."""

    def __init__(self) -> None:
        self.received = 0
        """How many messages were handled."""
        self.unreported: dict[int, LocalRun] = {}
        """Runs of which there is something to tell."""
        self.newly_blocked: dict[int, LocalRun] = {}
        """Runs in which fibers have begun to wait for others, or have ceased to."""
        self.emptied: dict[int, LocalRun] = {}
        """Runs of which the last fiber here has ended."""
        self._posted = m.OutcomesReady([], [])
        self._last_told = (0, 0)

    def clear(self) -> None:
        """Begin anew, with another coordinator."""
        self.received = 0
        self.unreported.clear()
        self.newly_blocked.clear()
        self.emptied.clear()
        self._posted = m.OutcomesReady([], [])
        self._last_told = (0, 0)

    def post(self, fiber: int, outcome: Leaving) -> None:
        """An outcome for others."""
        posted = self._posted
        if outcome.keys:
            posted.references.append((len(posted.fibers), [*outcome.keys]))
        posted.fibers.append(fiber)
        posted.payloads.append(outcome.payload)

    @property
    def posted(self) -> int:
        """How many outcomes there are for others."""
        return len(self._posted.fibers)

    def has_to_tell_of(self, run: int) -> bool:
        """Whether fibers of this run started or ended, or outcomes were posted, since a flush."""
        return run in self.unreported or bool(self._posted.fibers)

    def forget(self, run: int) -> None:
        """Forget this run, which is over: its report is moot."""
        self.unreported.pop(run, None)
        self.newly_blocked.pop(run, None)
        self.emptied.pop(run, None)

    def is_urgent(self, *, may_wait: bool) -> bool:
        """Whether there is something to tell at once.

        Args:
            may_wait: whether starts and ends are told with what is said next, as long as fibers of
                their runs are left here.
        """
        starts_and_ends = self.emptied if may_wait else self.unreported
        return bool(starts_and_ends or self._posted.fibers)

    def flush(
        self,
        load: int,
        outbox: list[m.MemberMessage],
        *,
        full: bool,
        may_wait: bool,
        is_heard_later: bool = False,
    ) -> None:
        """Put the report into the outbox; nothing if the coordinator knows it.

        Args:
            load: see `MemberState.load`.
            outbox: what is to be said.
            full: also what nothing waits for while there is work: the load, how much was
                heard, and how many fibers wait for others.
            may_wait: see `is_urgent`.
            is_heard_later: whether the coordinator need not know by now how much was heard, for
                no run here can be in a deadlock.
        """
        if self._posted.fibers:  # before it is told that these fibers have ended
            outbox.append(self._posted)
            self._posted = m.OutcomesReady([], [])
        told = (self.received, load)
        if full:
            self.unreported.update(self.newly_blocked)
            self.newly_blocked.clear()
        elif may_wait and not (outbox or self.emptied):
            return
        if not self.unreported and (told == self._last_told or not full or is_heard_later):
            return
        self._last_told = told
        runs = [run.take_progress() for run in self.unreported.values()]
        self.unreported.clear()
        self.emptied.clear()
        outbox.append(m.Progress(*told, runs))
