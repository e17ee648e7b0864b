"""The workers of a cluster that a provider starts, and the coordinator here that they join.

One thread looks after the workers: it starts them, takes up what the provider says of them, tells
the coordinator how they have ended, and starts them again. It sleeps until the provider tells of a
change, or until it is time to ask.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, final

from distio.errors import ClusterClosed, ClusterError
from distio.protocol.base import MemberMessage
from distio.protocol.messages import WorkerExited
from distio.protocol.messages.roster import ListMembers
from distio.runtime.link import LinkedHost
from distio.runtime.logs import log
from distio.runtime.process_supervisor import RestartLimit
from distio.runtime.processes import LocalProcesses
from distio.runtime.provider import Command, Ended, Pending, Provider
from distio.runtime.roster import list_members
from distio.runtime.slots import MOST_FAILED_STARTS, Slot, Slots
from distio.runtime.threads import start_thread
from distio.runtime.workers import Worker

__all__ = ["Fleet"]

_MAY_TAKE_SECONDS: Final = 3.0


@final
class Fleet:
    """The workers, and the process of the coordinator.

    Args:
        provider: starts the workers.
        coordinator: the process of the coordinator.
        wanted: how many workers.
        worker: what each of them is like; it has the name that the provider gives.
        accepts_other_code: whether they take fibers that were saved with other code than theirs.
        environment: variables for them.
        patience: see `Command`.
        new_limit: makes the limit of restarts of each.
    """

    def __init__(
        self,
        provider: Provider,
        coordinator: LocalProcesses,
        wanted: int,
        worker: Worker,
        *,
        accepts_other_code: bool = False,
        environment: dict[str, str],
        patience: float,
        new_limit: Callable[[], RestartLimit] = RestartLimit,
    ) -> None:
        self._provider = provider
        self._coordinator = coordinator
        self.worker = worker
        """The options of each worker."""
        self._arguments = [*worker.options(), "--family", coordinator.family]
        self._arguments += ["--accept-changed-code"] * accepts_other_code
        self._environment = environment
        self._patience = patience
        self._slots = Slots(wanted, new_limit)
        self._host: LinkedHost | None = None
        self._changed = threading.Condition(threading.RLock())
        self._has_news = False
        self._is_stopping = False
        self._more = 0
        """How many workers more are to be started, until the thread has heard."""
        self._unwanted: list[str] = []
        """The workers that are to leave, until the thread has heard."""
        self._is_told_of_changes = False
        self._asked_at = 0.0
        self._thread: threading.Thread | None = None
        self._is_told: set[str] = set()
        """The workers of whose waiting for a place a person was told."""
        self._leaving: set[str] = set()
        """The workers that were told to leave, since their place is taken away."""
        self._is_blind = False
        """Whether the provider could not say how workers are, when it was asked last."""

    def begin(self, host: LinkedHost) -> None:
        """Start the workers.

        Args:
            host: this process as a member, which listens already.

        Raises:
            ClusterError: the provider can't start them, and why.
        """
        self._host = host
        self._is_told_of_changes = self._provider.watch(self._note_news)
        self._start_in(self._slots.to_fill(time.monotonic()))
        self._thread = start_thread("distio-fleet", self._look_after, self._fail)

    def start(self, count: int) -> None:
        """Begin to start so many workers more; returns at once."""
        with self._changed:
            self._more += count
            self._note_news()

    def stop(self, names: Sequence[str]) -> None:
        """Have the workers of these names leave, and not come back; returns at once."""
        with self._changed:
            self._unwanted += names
            self._note_news()

    def close(self) -> None:
        """End all workers, and the coordinator."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._coordinator.stop()  # which tells the workers
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        try:
            self._provider.close(self._slots.names)
        except ClusterError as error:  # workers that are left end when they find no coordinator
            log.warning("%s", error)

    # -- on its thread ----------------------------------------------------------------------

    def _look_after(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_to_look, self._seconds_to_wait())
                if self._is_stopping:
                    return
                self._has_news = False
                more, self._more = self._more, 0
                unwanted, self._unwanted = self._unwanted, []
            self._slots.add(more)
            try:
                self._let_go(unwanted)
                self._take_up()
            except ClusterClosed:
                return
            except ClusterError as error:
                log.log(logging.DEBUG if self._is_blind else logging.WARNING, "%s", error)
                self._is_blind = True
            else:
                self._is_blind = False
            self._fill()

    def _is_to_look(self) -> bool:
        return self._has_news or self._is_stopping

    def _note_news(self) -> None:
        with self._changed:
            self._has_news = True
            self._changed.notify_all()

    def _seconds_to_wait(self) -> float | None:
        ask = None if self._is_told_of_changes else self._asked_at + self._provider.poll_seconds
        moments = [moment for moment in (ask, self._slots.due) if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _take_up(self) -> None:
        """Hear who has joined, and what the provider says of all."""
        assert self._host is not None
        self._asked_at = time.monotonic()
        members = list_members(self._host)
        self._slots.joined(each.name for each in members)
        states = self._provider.status(self._slots.names)
        for name, state in states.items():
            if isinstance(state, Ended):
                self._ended(name, state)
            elif isinstance(state, Pending) and state.reason and name not in self._is_told:
                self._is_told.add(name)
                log.info("%s waits for a place: %s", name, state.reason)
        if late := self._slots.overdue(time.monotonic()):
            self._provider.stop(late, 0.0)
        for name, seconds in self._provider.leaving().items():
            if name not in self._leaving:
                self._leaving.add(name)
                log.info("the place of %s is taken away in %.0f s; it is drained", name, seconds)
                self._provider.stop([name], seconds)

    def _ended(self, name: str, end: Ended) -> None:
        assert self._host is not None
        slot, seconds = self._slots.ended(time.monotonic(), name, has_left=end.has_left)
        self._is_told.discard(name)
        self._leaving.discard(name)
        if end.is_certain:
            self._host.say(WorkerExited(slot.serial, f"{name}: {end.reason}"))
        verb = "was lost" if slot.has_joined else "ended before it had joined"
        if end.has_left and slot.has_joined:
            verb = "has left"
        what = f"worker {name} {verb}: {end.reason}"
        lines = "" if slot.has_joined else indented(end.log_tail)
        if slot.is_leaving:
            log.info("%s", what)
        elif seconds is not None:
            when = f"in {seconds:g} s" if seconds else "now"
            level = logging.INFO if end.has_left else logging.WARNING
            log.log(level, "%s; another one is started %s", what, when)
        else:
            tries = f", {MOST_FAILED_STARTS} times in a row" if not slot.has_joined else ""
            limit = f"; {slot.limit}" if slot.has_joined else ""
            self._give_up(f"{what}{tries}{limit}{lines}")

    def _give_up(self, what: str) -> None:
        assert self._host is not None
        left = self._slots.left
        if not left:
            self._fail(ClusterError(f"the last {what}"))
            return
        log.error("%s", what)

        def refuse(question: MemberMessage) -> str:
            is_in_vain = isinstance(question, ListMembers) and question.workers > left
            return f"no more than {left} workers will come: {what}" if is_in_vain else ""

        self._host.questions.refuse(refuse)

    def _fail(self, error: BaseException) -> None:
        assert self._host is not None
        log.error("%s", error)
        self._host.close(str(error))
        with self._changed:
            self._is_stopping = True

    def _fill(self) -> None:
        """Start the workers that are due."""
        now = time.monotonic()
        slots = self._slots.to_fill(now)
        if not slots or self._is_stopping:
            return
        try:
            self._start_in(slots)
        except ClusterError as error:
            if len(slots) == 1:
                self._refused(slots[0], error)
                return
            for slot in slots:  # one host may be gone, and others not
                try:
                    self._start_in([slot])
                except ClusterError as its_error:
                    self._refused(slot, its_error)

    def _start_in(self, slots: Sequence[Slot]) -> None:
        names = self._provider.start(self._command(slots), len(slots))
        self._slots.filled(time.monotonic(), slots, names)

    def _refused(self, slot: Slot, error: ClusterError) -> None:
        self._slots.refused(time.monotonic(), slot)
        level = logging.WARNING if slot.refusals == 1 else logging.DEBUG
        log.log(level, "%s; a worker is started as soon as that can be done", error)

    def _command(self, slots: Sequence[Slot]) -> Command:
        return Command(
            self._coordinator.url,
            self._arguments,
            first=slots[0].serial,
            places=[slot.number for slot in slots],
            environment=self._environment,
            patience=self._patience,
            keys=self._coordinator.keys_of("worker"),
        )

    def _let_go(self, names: Sequence[str]) -> None:
        now, seconds = time.monotonic(), self._patience
        if told := self._slots.leave(now, names, seconds + _MAY_TAKE_SECONDS):
            self._provider.stop(told, seconds)


def indented(lines: str) -> str:
    """Lines of a log, on lines of their own."""
    return "".join(f"\n    {line}" for line in lines.splitlines())
