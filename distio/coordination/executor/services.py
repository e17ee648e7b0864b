"""The services of its process that an executor, and the tasks that it runs, need."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from typing import Any, Protocol

from distio.coordination.calls.callbacks import Answering
from distio.coordination.executor.hands import Hand
from distio.core.fiber import Fiber
from distio.core.interpreter import Tank
from distio.core.pickling.code_records import Comparison, Records
from distio.protocol.messages.logs import LogLevels
from distio.protocol.pieces import Bytes
from distio.result import Result

__all__ = ["HostServices", "OnLoop"]


class OnLoop(Protocol):
    """A coroutine of a fiber; see `calls.tasks.AwaitedCall`."""

    variables: Context

    def coroutine(self, *, is_noted: bool = False) -> Coroutine[Any, Any, Result[Any, Any]]:
        """The coroutine that the loop runs, in a context of these variables; it never raises.

        Args:
            is_noted: whether the loop is the one for which the host has a hand.
        """

    def failed(self, exception: BaseException) -> Result[Any, Any]:
        """The Result of a coroutine that has raised; called in an `except` clause."""

    def ended(self, result: Result[Any, Any]) -> None:
        """Let the fiber go on; not to be called in a context of these variables."""


class HostServices(Answering, Protocol):
    """Services of the process for work; never called with the mutex held."""

    def hand(self) -> Hand | None:
        """A place where a new executor notes its work; None: nobody would read it."""

    def loop_hand(self) -> Hand | None:
        """The hand in which the event loop notes the fiber whose coroutine it steps; None: nobody
        reads it."""

    def tank(self) -> Tank | None:
        """Gives a new executor the fuel of its steps; None: each step gets all it may use."""

    def may_call(self, fiber: Fiber) -> bool:
        """Whether a function may be called for the fiber; waits until that is known.

        It may not if the fiber goes on elsewhere, so that nobody waits for what comes of it here.
        """

    def wall_clock(self) -> float:
        """The time of `time.time`, or a simulated one."""

    def random(self) -> float:
        """A random number from 0 up to, but not, 1."""

    def run_in_thread(
        self, call: Callable[[], None], withdrawn: Callable[[], None], fiber: Fiber
    ) -> Callable[[], None]:
        """Call this for a fiber on a thread that isn't one of the pool's; returns at once.

        Args:
            call: what is called, perhaps later, when a thread is free.
            withdrawn: what is called instead if the call is withdrawn.
            fiber: on whose behalf.

        Returns:
            A function that withdraws the call if it hasn't begun.
        """

    def on_main_thread(
        self, call: Callable[[], None], refuse: Callable[[], None], fiber: Fiber
    ) -> Callable[[], bool]:
        """Call this for a fiber on the main thread of the process; returns at once.

        Args:
            call: what is called.
            refuse: what is called instead, on any thread, if the main thread doesn't take calls.
            fiber: on whose behalf.

        Returns:
            A function that withdraws the call; it returns whether neither of the two is called any
            more.
        """

    def begin_task(self, fiber: Fiber) -> Callable[[Result[Any, Any]], None]:
        """Let this task of asyncio act for the fiber from now on.

        Returns:
            A function that ends this, and gets the Result of the task.
        """

    def on_loop(self, fiber: Fiber, call: OnLoop) -> Callable[[], None]:
        """Run a coroutine for a fiber on the event loop of its run; returns at once.

        Returns:
            A function that cancels the coroutine.
        """

    def use_archives(self, archives: Sequence[bytes], attachments: dict[bytes, Bytes]) -> None:
        """Fibers are about to come that need the code in these archives.

        Args:
            archives: their digests.
            attachments: has those that have not come before; they are taken out.

        Raises:
            NotImportable: one of them can't be unpacked.
        """

    def use_log_levels(self, levels: Mapping[int, LogLevels]) -> None:
        """Fibers are about to come; these are the log levels of the clients they belong to."""

    def compare_code(self, records: Records) -> Comparison:
        """How the code of this process differs from what fibers need that have come.

        Without differences the fibers are opened here, whether there are any or not.
        """

    def on_unpicklable(self, fiber: Fiber) -> None:
        """Hear that this fiber was to travel, but can't be pickled."""

    def on_large_payload(self, fibers: Sequence[Fiber]) -> None:
        """The payload of these fibers is large: one may have captured a large value."""

    def copied(self, fibers: Sequence[Fiber], generators: Sequence[Any]) -> None:
        """Note that these fibers take along copies of these generators of random numbers."""

    def report_failures(self) -> None:
        """Report the unobserved failures: see `Member.take_failure`."""

    def interrupted(self, interrupt: BaseException, fiber: Fiber | None) -> bool:
        """User code has raised what is to end the run (see `is_interrupt`).

        Args:
            interrupt: what it has raised.
            fiber: the fiber that the executor has and that has called it; None if it is parked.

        Returns:
            Whether the fiber is to go on, with this as its panic.
        """
