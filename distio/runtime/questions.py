"""Questions of a process to its coordinator, for whose answers threads wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, final

from distio.errors import ClusterClosed, ClusterError
from distio.protocol import messages as m
from distio.runtime.interrupts import interruptible
from distio.runtime.main_thread import wake_main_thread
from distio.runtime.nesting import waiting
from distio.runtime.pending_runs import Pending, inherited

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["Questions", "wait_for"]


def _nothing(answer: Any) -> None:
    """Do nothing with an answer."""


@final
class _Question(Pending):
    """A question, for whose answer a thread waits."""

    def __init__(self, heard: Callable[[Any], None]) -> None:
        super().__init__()
        self.heard = heard
        self.answer: Any = None
        """None: there will be none."""
        self.message: m.MemberMessage | None = None
        self.refused_because = ""
        """The reason why the question would be waited for in vain."""


@final
class Questions:
    """The books are guarded by the mutex of the host."""

    def __init__(self, host: LinkedHost) -> None:
        self._host = host
        self._asked: dict[int, _Question] = {}
        self._reason_to: Callable[[m.MemberMessage], str] = lambda message: ""
        self.closed_because = ""
        """The reason why no question is answered any more; empty: they are."""

    def ask(
        self,
        message: Callable[[int], m.MemberMessage],
        *,
        heard: Callable[[Any], None] = _nothing,
        timeout: float | None = None,
        withdraw: Callable[[int], m.MemberMessage] | None = None,
    ) -> Any:
        """Ask, and wait for the answer.

        Args:
            message: makes the question, of its number.
            heard: called with the answer when it comes, with the mutex held.
            timeout: for how many seconds to wait; None: as long as it takes.
            withdraw: makes the message that takes the question back when the time is over.

        Returns:
            The answer; None: it didn't come in time.

        Raises:
            ClusterClosed: the coordinator is lost, or the cluster closed.
            KeyRefused: the role of this process doesn't let it.
            ClusterError: the answer would never come, and why.
        """
        self._host.require_role(message(0))
        question, number = _Question(heard), 0
        with self._host.fail_stop:
            number = self._put(question, message)
        try:
            wait_for(question, timeout)
        finally:
            if not question.is_over:
                self._take_back(number, withdraw)
        if question.refused_because:
            raise ClusterError(question.refused_because)
        if question.answer is None and question.is_over:
            raise ClusterClosed(self.closed_because)
        return question.answer

    def _put(self, question: _Question, message: Callable[[int], m.MemberMessage]) -> int:
        """Let the coordinator hear a question (mutex held)."""
        if self.closed_because:
            question.end_wait()
            return 0
        number = self._host.member.features.named_runs.next_question()
        question.message = message(number)
        if self._refuse_if_in_vain(question):
            return 0
        self._asked[number] = question
        self._host.send_at_once(question.message)
        return number

    def refuse(self, reason_to: Callable[[m.MemberMessage], str]) -> None:
        """Refuse the questions that are waited for in vain, now and later (takes the mutex).

        Args:
            reason_to: says why a question is one of these; empty: it isn't.
        """
        with self._host.fail_stop:
            self._reason_to = reason_to
            in_vain = [n for n, each in self._asked.items() if self._refuse_if_in_vain(each)]
        for number in in_vain:
            self._take_back(number, None)

    def _refuse_if_in_vain(self, question: _Question) -> bool:
        assert question.message is not None
        question.refused_because = self._reason_to(question.message)
        if question.refused_because:
            question.end_wait()
        return bool(question.refused_because)

    def _take_back(self, number: int, withdraw: Callable[[int], m.MemberMessage] | None) -> None:
        """Take back a question whose answer isn't wanted any more, and may be on its way."""
        with self._host.fail_stop:
            if self._asked.pop(number, None) is not None and withdraw is not None:
                self._host.send_at_once(withdraw(number))

    def take_up(self, number: int, answer: Any) -> None:
        """An answer has come (mutex held)."""
        question = self._asked.pop(number, None)
        if question is None:
            return  # it was taken back
        question.answer = answer
        question.heard(answer)
        question.end_wait()

    def cut_short(self, reason: str) -> None:
        """Refuse all questions from now on (mutex held); the first reason counts."""
        self.closed_because = self.closed_because or reason
        asked, self._asked = self._asked, {}
        for question in asked.values():
            question.end_wait()

    def drop_in_child(self, process: int) -> None:
        """In a forked child of this process: no message comes here."""
        self.closed_because = inherited(process)
        for question in self._asked.values():
            question.renew_in_child()
        self.cut_short(self.closed_because)


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
