"""The processes of a local cluster: a coordinator, and workers that are started again.

A worker that ends is started again at once. If it ends again soon, the next start is delayed
(`Backoff`). A worker that ends too often (`RestartLimit`), or before it has joined three times in a
row, is given up, with the last lines that it wrote. The cluster ends when no worker is left. A
coordinator that has a journal is started again, too; with one that has none the cluster ends.
"""

from __future__ import annotations

import logging
import os
import platform
import select
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, final

from distio.coordination.membership.keys import KeyRole
from distio.errors import ClusterError
from distio.protocol.ids import default_name
from distio.protocol.messages import WorkerExited
from distio.protocol.text import readable
from distio.runtime.child_processes import ChildProcess, describe_exit
from distio.runtime.equipment import Equipment
from distio.runtime.handshake import connect
from distio.runtime.keys import files_of
from distio.runtime.link import LinkedHost
from distio.runtime.post_mortem import MemoryWatch, examine
from distio.runtime.process_options import ProcessOptions
from distio.runtime.process_supervisor import (
    LOST,
    NEAR_LIMIT,
    Child,
    ProcessSupervisor,
)
from distio.runtime.refusals import refusals
from distio.runtime.standalone import prepare
from distio.runtime.systems import watch_process
from distio.runtime.threads import OnlyOnce
from distio.runtime.workers import Worker

__all__ = ["LocalProcesses", "LocalProvider"]

log: Final = logging.getLogger("distio")

_MAY_TAKE_SECONDS: Final = 3.0
_MOST_FAILED_STARTS: Final = 3
_TOLD_TO_END_SECONDS: Final = 1.0
"""After how long a worker is started again that was told to end."""


@final
class LocalProcesses:
    """The processes of a local cluster.

    Args:
        workers: what each of them is like; none, if others start the workers.
        options: those of all of them.

    Raises:
        ClusterError, OSError: they can't be started; those that were have ended again.
    """

    def __init__(self, workers: Sequence[Worker], options: ProcessOptions) -> None:
        self._options = options
        self.worker = replace(workers[-1], name="") if workers else Worker()
        """The options of workers that are started later."""
        self.threads = sum(each.threads for each in workers)
        """How many threads step fibers when all workers have joined."""
        self.path = None if options.workers_are_elsewhere else list(sys.path)
        """The path on which the workers look for modules; None: nobody knows."""
        self._host: LinkedHost | None = None
        self._changed = threading.Condition()
        self._unreported: list[WorkerExited] = []
        """Exits of workers that the coordinator is to be told of when the program has joined it."""
        self._has_begun = False
        """Whether the coordinator has listened."""
        self._is_used = False
        """Whether a worker has joined."""
        self._failure = ""
        """The reason why the cluster has ended, or can't begin."""
        self._thread: threading.Thread | None = None
        # first of all, as it sees whether the working directory is there: Python 3.13 may not even
        # import a codec without one
        self._equipment = Equipment(options, len(workers))
        try:
            self._memory = MemoryWatch()
            self._supervisor = ProcessSupervisor(self, options.patience)
            self._supervise = OnlyOnce(self._supervisor.run)
        except BaseException:
            self._equipment.remove()
            raise
        try:
            self._begin(workers)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where the coordinator listens."""
        return self._equipment.url

    @property
    def family(self) -> str:
        """The name of the family of this cluster's processes; see `Hello.family`."""
        return self._equipment.family

    @property
    def coordinator(self) -> ChildProcess:
        """The process of the coordinator."""
        return self._all[0]

    @property
    def workers(self) -> list[ChildProcess]:
        """The process of each worker that lives, or that has lived last."""
        return self._all[1:]

    @property
    def _all(self) -> list[ChildProcess]:
        processes = [child.process for child in self._supervisor.children]
        return [process for process in processes if process is not None]

    # -- starting -------------------------------------------------------------------------

    def _begin(self, workers: Sequence[Worker]) -> None:
        is_ready = self._equipment.prepare()
        if not is_ready:
            prepare()  # while the fork server imports
        coordinator = self._equipment.coordinator()
        self._supervisor.add(coordinator)
        coordinator.must_start_within(self._options.start_seconds)
        for each in workers:
            self._supervisor.add(self._equipment.worker(each))
        if is_ready:
            prepare()  # while they begin
        self._thread = threading.Thread(
            target=self._supervise, name="distio-processes", daemon=True
        )
        self._thread.start()

    # -- more and fewer of them (on any thread) -------------------------------------------

    def start(self, count: int) -> None:
        """Begin to start more workers, like the last one that was asked for at the beginning."""
        for _ in range(count):
            child = self._equipment.worker(self.worker)
            child.must_start_within(self._options.start_seconds)
            self._supervisor.add_soon(child)

    def keys_of(self, role: KeyRole) -> dict[str, bytes]:
        """The files of the folder of keys for this role; empty if the cluster needs none."""
        keys = self._equipment.keys
        return {} if keys is None else files_of(keys / role)

    def stop_workers(self, names: Sequence[str]) -> None:
        """Have the workers of these names leave, for good."""
        for child in self._supervisor.children[1:]:  # a copy: another thread changes the list
            if child.process is not None and _name_of(child) in names:
                child.is_retired = True
                child.kill(signal.SIGTERM)

    def join(self) -> LinkedHost:
        """Join the coordinator, and wait until there is a worker: for events, not for a time.

        Raises:
            ClusterError: a process has ended before, or takes too long; and what it wrote.
        """
        if self._options.workers_are_elsewhere:  # the system may choose the port
            with self._changed:
                self._changed.wait_for(lambda: self._has_begun or self._failure)
        try:
            coordinator = watch_process(self.coordinator.pid)
        except ProcessLookupError:  # the supervisor has seen its end
            raise ClusterError(self._explain_loss()) from None
        try:
            host = connect(
                self.url,
                "client",
                1,
                family=self.family,
                timeout=self._options.start_seconds + _MAY_TAKE_SECONDS,
                coordinator=coordinator,
                keys=self._equipment.keys,
            )
        except ClusterError as error:
            is_refused_here = isinstance(error.__cause__, refusals())
            reason = "" if is_refused_here else self._explain_loss()
            raise (ClusterError(reason) if reason else error) from None
        finally:
            os.close(coordinator)
        host.explain_loss = self._explain_loss
        with self._changed:
            self._host = host
            unreported, self._unreported = self._unreported, []
        host.say(*unreported)
        try:
            with self._changed:
                is_used = self._options.workers_are_elsewhere  # their starter waits for them
                self._changed.wait_for(lambda: is_used or self._is_used or self._failure)
            if self._failure:
                raise ClusterError(self._failure)
        except BaseException:
            host.leaving.request()
            host.listen()  # to its end, which is at once
            raise
        return host

    # -- what becomes of them (on the supervisor's thread) --------------------------------

    def started(self, child: Child) -> None:
        """A worker has joined, or the coordinator listens: workers can join from now on."""
        if self._is_coordinator(child):
            with self._changed:
                if self._options.workers_are_elsewhere:
                    self._equipment.read_url()
                self._has_begun = True
                self._changed.notify_all()
            for worker in self._supervisor.children[1:]:
                worker.must_start_within(self._options.start_seconds)
            return
        with self._changed:
            self._is_used = True
            self._changed.notify_all()

    def ended(self, child: Child, code: int, lived: float) -> float | None:
        """Say so, tell the coordinator, and decide whether it is started again."""
        reason = describe_exit(code)
        if child.is_late:
            reason = f"killed, because the start took more than {self._options.start_seconds:g} s"
        elif child.was_stopped:
            patience = self._options.patience
            reason = f"killed, because it was stopped for {patience:g} s (patience= sets the limit)"
        elif code == LOST:
            reason = "lost the connection to the coordinator"
        elif code == NEAR_LIMIT:
            reason = "it came near its memory limit"
        if self._is_coordinator(child):
            if self._coordinator_may_return(child, code):
                return self._coordinator_again(child, reason, lived)
            verb = "was lost" if child.has_started else "ended before it could be joined"
            self._fail(f"the coordinator process {verb}: {reason}{_last_lines(child)}")
            return None
        if code == LOST and self._coordinator_ends():
            return None  # the supervisor is about to hear of that
        exit, in_hand = examine(code, child.box, self._memory)
        if code == LOST:
            in_hand = []  # it has ended by itself, whatever its fibers did
        self._tell_exit(WorkerExited(child.serial, reason, exit, in_hand))
        if child.is_retired:
            log.info("worker %s has left, as it was idle: %s", _name_of(child), reason)
            return None
        may_return = self._may_return(child)
        seconds = child.again(lived) if may_return else None
        level = logging.WARNING
        if code == 0 and seconds is not None:
            # somebody has told it to end: perhaps the whole group of processes, this program with
            # it, which then ends the cluster in a moment
            level, seconds = logging.INFO, max(seconds, _TOLD_TO_END_SECONDS)
        verb = "was lost" if child.has_started else "ended before it had joined"
        if code in (0, NEAR_LIMIT) and child.has_started:
            verb = "has left"
        if child.failed_starts > 1:
            verb += f", {child.failed_starts} times in a row"
        assert child.process is not None
        what = f"worker process {child.process.pid} {verb}: {reason}"
        if seconds is None:
            limit = f"; {child.limit}" if may_return else ""
            self._give_up(child, f"{what}{limit}{_last_lines(child)}")
        else:
            when = f"in {seconds:g} s" if seconds else "now"
            log.log(level, "%s; the process is started again %s", what, when)
        return seconds

    def _coordinator_may_return(self, child: Child, code: int) -> bool:
        """Whether another process can go on from its journal."""
        if self._failure or child.is_late or not self._equipment.has_journal():
            return False
        was_killed = code < 0 and self._has_begun
        return child.has_started or (was_killed and child.failed_starts < _MOST_FAILED_STARTS)

    def _coordinator_again(self, child: Child, reason: str, lived: float) -> float | None:
        """Start another coordinator process, which goes on from the journal."""
        assert child.process is not None
        what = f"the coordinator process {child.process.pid} was lost: {reason}"
        seconds = child.again(lived)
        if seconds is None:
            self._fail(f"{what}; {child.limit}")
        else:
            when = f"in {seconds:g} s" if seconds else "now"
            log.warning("%s; it is started again %s, and goes on from its journal", what, when)
        return seconds

    def _give_up(self, child: Child, what: str) -> None:
        log.error("%s", what)
        workers = self._supervisor.children[1:]
        if not any(other.is_alive or other.due is not None for other in workers):
            self._fail(f"the last {what}")

    def _coordinator_ends(self) -> bool:
        """Whether its process ends now: it has hung up already."""
        poller = select.poll()
        poller.register(self._supervisor.children[0].descriptor, select.POLLIN)
        return bool(poller.poll(_MAY_TAKE_SECONDS * 1000))

    def _may_return(self, child: Child) -> bool:
        if not self._options.restart or self._failure or child.is_late:
            return False
        return child.failed_starts < _MOST_FAILED_STARTS

    def refused(self, child: Child, error: OSError) -> float | None:
        """The system may allow it later."""
        seconds = child.again(0.0, counts=False)
        log.warning("a worker process can't be started (%s); again in %g s", error, seconds)
        return seconds

    def killed(self, child: Child) -> None:
        """The end of a cluster kills in silence: what its fibers did is void anyway."""

    def _is_coordinator(self, child: Child) -> bool:
        return child is self._supervisor.children[0]

    def _tell_exit(self, exit: WorkerExited) -> None:
        with self._changed:
            host = self._host
            if host is None:
                self._unreported.append(exit)
        if host is not None:
            host.say(exit)

    def _explain_loss(self) -> str:
        """Why the coordinator doesn't answer any more: the supervisor is about to see it, too."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure, _MAY_TAKE_SECONDS)
            return self._failure

    def _fail(self, reason: str) -> None:
        """End all of it."""
        with self._changed:
            if self._failure:
                return
            self._failure = reason
            host = self._host
            self._changed.notify_all()
        if host is not None:
            log.error("%s", reason)
            host.close(reason)
        # workers that have lost their coordinator release what they hold
        self._end(self._options.grace)

    # -- the end --------------------------------------------------------------------------

    def _end(self, seconds: float = 0.0) -> None:
        self._supervisor.stop(
            seconds + _MAY_TAKE_SECONDS
        )  # first: their ends are no losses from now on
        with self._changed:
            self._equipment.cut_lifeline()

    def stop(self) -> None:
        """End all of them, and remove what they leave behind."""
        self._end()
        is_done, thread = self._supervise(), self._thread
        if not is_done and thread and thread.ident not in (None, threading.get_ident()):
            thread.join()
        self._equipment.remove()


def _last_lines(child: Child) -> str:
    """The last lines that a process wrote to stderr before it had started, if it hasn't."""
    return "" if child.has_started or child.log is None else child.log.last_lines()


def _name_of(child: Child) -> str:
    """The name that a worker has in the cluster."""
    assert child.process is not None
    return child.name or default_name(child.process.pid, readable(platform.node()))


@final
class LocalProvider:
    """Starts and stops workers of a local cluster; see `StartsWorkers`."""

    def __init__(self, processes: LocalProcesses) -> None:
        self._processes = processes
        self.worker = processes.worker

    def start(self, count: int) -> None:
        """Begin to start so many."""
        self._processes.start(count)

    def stop(self, names: Sequence[str]) -> None:
        """Have these leave."""
        self._processes.stop_workers(names)
