"""Named runs as one process sees them: its questions about them, and the ends it waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from distio.coordination.durable.member import Answer
from distio.core.fiber import Handle
from distio.core.ops.base import IO
from distio.core.references import keys_of
from distio.core.snapshot import digest_of_program
from distio.errors import ClusterClosed, RunRefused, RunUnknown
from distio.protocol import messages as m
from distio.protocol.domains import NamedRunRefusal, Snapshots
from distio.protocol.ids import name_of
from distio.runtime.interrupts import interruptible
from distio.runtime.main_thread import wake_main_thread
from distio.runtime.nesting import waiting
from distio.runtime.pending_runs import Pending, PendingRun, closed, inherited
from distio.runtime.roots import dump_root

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["NamedRuns", "wait_for"]

_REFUSALS: Final[dict[NamedRunRefusal, type[RunRefused | RunUnknown]]] = {
    "unknown": RunUnknown,
    "another program": RunRefused,
    "runs": RunRefused,
    "too many": RunRefused,
}


class _Question(Pending):
    """One question, for whose answer a thread waits."""

    def __init__(self, *, attaches: bool) -> None:
        super().__init__()
        self.attaches = attaches
        self.answer: Answer | None = None
        """None: there will be none."""
        self.pending: PendingRun | None = None
        """The run to which the process is attached by it."""


@final
class NamedRuns:
    """The books are guarded by the mutex of the host."""

    def __init__(self, host: LinkedHost) -> None:
        self._host = host
        self._asked: dict[int, _Question] = {}
        self._open: dict[int, PendingRun] = {}
        """By run: those for whose ends somebody here may wait."""
        self._closed_because = ""
        """Why no question is answered any more; empty: they are."""

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
        """All that the coordinator knows; see `act` for what is raised."""
        answer = self._ask(m.ListNamedRuns).answer
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
        return _found(self._ask(message))

    def _attach(self, message: Callable[[int], m.MemberMessage]) -> PendingRun:
        self._host.tell_levels()
        question = self._ask(message, attaches=True)
        _found(question)
        assert question.pending is not None
        return question.pending

    def _ask(
        self, message: Callable[[int], m.MemberMessage], *, attaches: bool = False
    ) -> _Question:
        self._host.require_role(message(0))
        question = _Question(attaches=attaches)
        with self._host.fail_stop:
            self._put(question, message)
        wait_for(question)
        if question.answer is None:
            raise ClusterClosed(self._closed_because)
        return question

    def _put(self, question: _Question, message: Callable[[int], m.MemberMessage]) -> None:
        """Let the coordinator hear a question (mutex held)."""
        if self._closed_because:
            question.end_wait()
            return
        number = self._host.member.features.named_runs.next_question()
        self._asked[number] = question
        self._host.send_at_once(message(number))

    # -- answers (with the mutex held) ----------------------------------------------------

    def take_up(self, answers: Sequence[Answer]) -> Callable[[], None]:
        """Take answers; return a function that wakes those who wait for runs, on any thread."""
        ends = []
        for answer in answers:
            if isinstance(answer, m.NamedRunEnded):
                pending = self._open.pop(answer.run, None)
                if pending is not None:
                    ends.append((pending, answer))
                continue
            question = self._asked.pop(answer.question)
            question.answer = answer
            if isinstance(answer, m.NamedRunFound) and question.attaches:
                question.pending = self._pending(answer.run.run, answer.run.name)
            question.end_wait()

        def tell() -> None:
            for pending, end in ends:
                pending.named_run_ended(end)

        return tell

    def _pending(self, run: int, name: str) -> PendingRun:
        if run not in self._open:
            self._open[run] = PendingRun(run, f"{name_of(run)} ({name})", Handle(run))
        return self._open[run]

    # -- the end of the link --------------------------------------------------------------

    def cut_short(self, reason: str) -> None:
        """No more is heard of the runs, which may go on (mutex held); the first reason counts."""
        if self._closed_because:
            return
        self._closed_because = reason
        panic = closed(
            f"nothing more is heard of the run: {reason}; where the coordinator goes on, so does "
            f"the run: Cluster.connect(url).attach(name) waits for it"
        )
        self._give_up(lambda pending: pending.end(panic))

    def drop_in_child(self, process: int) -> None:
        """In a forked child of this process: no message comes here."""
        self._closed_because = inherited(process)
        for question in self._asked.values():
            question.renew_in_child()
        self._give_up(lambda pending: pending.drop_in_child(closed(inherited(process))))

    def _give_up(self, end: Callable[[PendingRun], None]) -> None:
        asked, self._asked = self._asked, {}
        for question in asked.values():
            question.end_wait()
        runs, self._open = self._open, {}
        for pending in runs.values():
            end(pending)


def _found(question: _Question) -> m.NamedRun:
    answer = question.answer
    if isinstance(answer, m.NamedRunRefused):
        raise _REFUSALS[answer.why](answer.reason)
    assert isinstance(answer, m.NamedRunFound)
    return answer.run


def wait_for(pending: Pending, timeout: float | None = None) -> None:
    """Block until it is over, or the time is.

    Args:
        pending: what.
        timeout: for how many seconds at most; None: as long as it takes.

    Raises:
        BaseException: a signal handler has raised it meanwhile on the main thread.
    """
    if not pending.is_over:
        with waiting(), interruptible(wake_main_thread, lambda: "") as interrupted:
            pending.wait(timeout, unless=partial(getattr, interrupted, "is_ending"))
