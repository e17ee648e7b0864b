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
        self._posted = m.OutcomesReady([], [])
        self._last_told = (0, 0)

    def clear(self) -> None:
        """Begin anew, with another coordinator."""
        self.received = 0
        self.unreported.clear()
        self.newly_blocked.clear()
        self._posted = m.OutcomesReady([], [])
        self._last_told = (0, 0)

    def post(self, fiber: int, outcome: Leaving) -> None:
        """An outcome for others."""
        posted = self._posted
        if outcome.keys:
            posted.references.append((len(posted.fibers), [*outcome.keys]))
        posted.fibers.append(fiber)
        posted.payloads.append(outcome.payload)

    def has_to_tell_of(self, run: int) -> bool:
        """Whether fibers of this run started or ended, or outcomes were posted, since a flush."""
        return run in self.unreported or bool(self._posted.fibers)

    def forget(self, run: int) -> None:
        """Forget this run, which is over: its report is moot."""
        self.unreported.pop(run, None)
        self.newly_blocked.pop(run, None)

    def __bool__(self) -> bool:
        return bool(self.unreported or self._posted.fibers)

    def flush(self, load: int, outbox: list[m.MemberMessage], *, full: bool) -> None:
        """Put the report into the outbox; nothing if the coordinator knows it.

        Args:
            load: see `MemberState.load`.
            outbox: what is to be said.
            full: also what nothing waits for while there is work: the load, how much was
                heard, and how many fibers wait for others.
        """
        if self._posted.fibers:  # before it is told that these fibers have ended
            outbox.append(self._posted)
            self._posted = m.OutcomesReady([], [])
        told = (self.received, load)
        if full:
            self.unreported.update(self.newly_blocked)
            self.newly_blocked.clear()
        if not self.unreported and (told == self._last_told or not full):
            return
        self._last_told = told
        runs = [run.take_progress() for run in self.unreported.values()]
        self.unreported.clear()
        outbox.append(m.Progress(*told, runs))
