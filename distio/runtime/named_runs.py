"""Named runs as one process sees them: its questions about them, and the ends it waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from distio.coordination.state.member import NamedRunAnswer
from distio.core.fiber import Handle
from distio.core.ops.base import IO
from distio.core.references import keys_of
from distio.core.snapshot import digest_of_program
from distio.errors import RunRefused, RunUnknown
from distio.protocol import messages as m
from distio.protocol.domains import NamedRunRefusal, Snapshots
from distio.protocol.ids import name_of
from distio.runtime.pending_runs import PendingRun, closed, inherited
from distio.runtime.roots import dump_root

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["NamedRuns"]

_REFUSALS: Final[dict[NamedRunRefusal, type[RunRefused | RunUnknown]]] = {
    "unknown": RunUnknown,
    "another program": RunRefused,
    "runs": RunRefused,
    "too many": RunRefused,
}


@final
class NamedRuns:
    """The books are guarded by the mutex of the host."""

    def __init__(self, host: LinkedHost) -> None:
        self._host = host
        self._open: dict[int, PendingRun] = {}
        """By run: those for whose ends somebody here may wait."""
        self._is_cut_short = False

    # -- questions ------------------------------------------------------------------------

    def submit(
        self,
        io: IO[Any, Any, Any],
        context: Any,
        name: str,
        snapshots: Snapshots,
        *,
        keep_seconds: float | None,
        replaces: bool,
    ) -> PendingRun:
        """Run a program as `SubmitNamedRun` says; see `act` for what else is raised.

        Raises:
            NotPicklable: the program or its context can't be pickled.
        """
        fiber, dumped = dump_root(self._host, io, context)
        program = digest_of_program(fiber)
        attachments = [*dumped.attachments.items(), *self._host.member.state.archives.items()]
        keys = keys_of(dumped.references, dumped.handles)
        root = m.Chunk(
            0,
            [(0, 0)],
            dumped.payload,
            attachments=attachments,
            references=keys,
            code=dumped.code,
        )
        return self._attach(
            lambda number: m.SubmitNamedRun(
                number, name, program, root, snapshots, keep_seconds, replaces
            )
        )

    def attach(self, name: str) -> PendingRun:
        """Hear of the end of a run; see `act` for what is raised."""
        return self._attach(lambda number: m.ActOnNamedRun(number, name, "attach"))

    def list(self) -> Sequence[m.NamedRun]:
        """The named runs that the coordinator knows; see `act` for the errors."""
        answer = self._host.questions.ask(m.ListNamedRuns)
        assert isinstance(answer, m.NamedRunsListed)
        return answer.runs

    def act(self, message: Callable[[int], m.MemberMessage]) -> m.NamedRun:
        """Ask for something about a run.

        Args:
            message: makes it, of the number of the question.

        Raises:
            RunUnknown: no run has this name.
            RunRefused: that can't be done.
            ClusterClosed: the coordinator is lost, or the cluster closed.
            KeyRefused: the role of this process doesn't let it.
        """
        return _found(self._host.questions.ask(message))

    def _attach(self, message: Callable[[int], m.MemberMessage]) -> PendingRun:
        self._host.runs.tell_levels()
        attached: list[PendingRun] = []

        def heard(answer: NamedRunAnswer) -> None:
            if isinstance(answer, m.NamedRunFound):  # its end may come in the same batch
                attached.append(self._pending(answer.run.run, answer.run.name))

        _found(self._host.questions.ask(message, heard=heard))
        return attached[0]

    # -- answers (with the mutex held) ----------------------------------------------------

    def ended(self, answer: m.NamedRunEnded) -> Callable[[], None] | None:
        """A run is over; return a function that wakes those who wait for it, on any thread."""
        pending = self._open.pop(answer.run, None)
        return None if pending is None else partial(pending.named_run_ended, answer)

    def _pending(self, run: int, name: str) -> PendingRun:
        if run not in self._open:
            self._open[run] = PendingRun(run, f"{name_of(run)} ({name})", Handle(run))
        return self._open[run]

    # -- the end of the link --------------------------------------------------------------

    def cut_short(self, reason: str) -> None:
        """End all waits for named runs, which may go on (mutex held); the first reason counts."""
        if self._is_cut_short:
            return
        self._is_cut_short = True
        panic = closed(
            f"nothing more is heard of the run: {reason}; where the coordinator goes on, so does "
            f"the run: Cluster.connect(url).attach(name) waits for it"
        )
        self._give_up(lambda pending: pending.end(panic))

    def drop_in_child(self, process: int) -> None:
        """In a forked child of this process: no message comes here."""
        self._is_cut_short = True
        self._give_up(lambda pending: pending.drop_in_child(closed(inherited(process))))

    def _give_up(self, end: Callable[[PendingRun], None]) -> None:
        runs, self._open = self._open, {}
        for pending in runs.values():
            end(pending)


def _found(answer: NamedRunAnswer) -> m.NamedRun:
    if isinstance(answer, m.NamedRunRefused):
        raise _REFUSALS[answer.why](answer.reason)
    assert isinstance(answer, m.NamedRunFound)
    return answer.run
