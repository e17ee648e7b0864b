"""Tasks that pickle outcomes for members elsewhere, or tell them to functions here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, final

from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task
from distio.coordination.outcomes.mentioned import outcomes_of
from distio.coordination.outcomes.waiter import Listener
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber, Handle
from distio.core.outcomes import Leaving, Packed, dump_outcome, opened, outcome_stays
from distio.core.references import keys_of
from distio.errors import TracedException
from distio.protocol.text import readable_exception
from distio.result import Panic

__all__ = ["FinishFiber", "PickleOutcome", "ReportEnds"]


_NOTHING: Final = Leaving(b"")
"""Stands for an outcome that is still to be pickled."""


@final
class PickleOutcome(Task):
    """The outcome of a fiber is to be sent to whoever waits for it elsewhere.

    Args:
        run: that of the fiber.
        handle: where the outcome is.
        pickled: called with the fiber and the outcome.
    """

    __slots__ = ("_handle", "_outcome", "_pickled", "_run")

    def __init__(
        self,
        run: int,
        handle: Handle[Any, Any, Any],
        pickled: Callable[[int, int, Leaving], None],
    ) -> None:
        self._run = run
        self._handle = handle
        self._pickled = pickled
        self._outcome = _NOTHING

    @property
    def run_id(self) -> int:
        """The run of the fiber."""
        return self._run

    def run(self, host: HostServices) -> None:
        """Pickle the outcome, unless it came as bytes."""
        outcome = self._handle.outcome
        if isinstance(outcome, Packed):
            self._outcome = Leaving(outcome.payload, (), keys_of(outcome.references))
        else:
            self._outcome = _dump_outcome(outcome)

    def commit(self) -> None:
        """The outcome leaves."""
        self._pickled(self._run, self._handle.id, self._outcome)

    def dropped(self) -> bool:
        """Drop the task: no fiber waits for the outcome any more."""
        return True


@final
class FinishFiber(Task):
    """A fiber has ended that somebody elsewhere waits for: its outcome leaves before its end.

    Args:
        fiber: the fiber.
        run: its run.
        pickled: called with the fiber, the outcome, and other outcomes to which that refers.
    """

    __slots__ = ("_mentioned", "_outcome", "_pickled", "_run", "fiber")

    def __init__(
        self,
        fiber: Fiber,
        run: LocalRun,
        pickled: Callable[[Fiber, Leaving, Sequence[tuple[int, Leaving]]], None],
    ) -> None:
        self.fiber = fiber
        self._run = run
        self._pickled = pickled
        self._outcome = _NOTHING
        self._mentioned: Sequence[tuple[int, Leaving]] = ()

    @property
    def run_id(self) -> int:
        """The run of the fiber."""
        return self.fiber.run

    def fiber_ids(self) -> list[int]:
        """The fiber."""
        return [self.fiber.id]

    def run(self, host: HostServices) -> None:
        """Pickle the outcome, and others that may be asked for when the member is lost."""
        self._outcome = _dump_outcome(self.fiber.outcome())
        if self._outcome.handles and self._run.snapshots != "off":
            self._mentioned = outcomes_of(self._outcome.handles, self._run)

    def commit(self) -> None:
        """The outcome leaves, and the fiber has ended."""
        self._pickled(self.fiber, self._outcome, self._mentioned)


@final
class ReportEnds(Task):
    """Fibers have ended of which a function is to be told."""

    __slots__ = ("_ended", "_listener")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._ended: list[Handle[Any, Any, Any]] = []

    @property
    def run_id(self) -> int:
        """The run that waits for them."""
        return self._listener.run

    def taken(self) -> Task:
        """Tell all that have ended by now; the next one to end makes another task."""
        self._ended, self._listener.ended = self._listener.ended, []
        return self

    def run(self, host: HostServices) -> None:
        """Open the outcomes, and call the function."""
        self._listener.tell([(handle, opened(handle.outcome)) for handle in self._ended])

    def dropped(self) -> bool:
        """Drop the task: nobody is told of a run that was cut short."""
        return True


def _dump_outcome(outcome: Any) -> Leaving:
    """Pickle an outcome; if there is no memory for it, for one, a panic that says so."""
    try:
        return dump_outcome(outcome)
    except BaseException as error:  # noqa: BLE001 (the panic tells)
        refusal = outcome_stays(readable_exception(error))
    return dump_outcome(Panic([TracedException(refusal, str(refusal))], []))
