"""`Memoized`: a program that runs once, however many fibers run it.

A variable guards the fiber that computes, and the number of fibers that wait for it. To join is
one acquisition (see `Bracket`): a fiber that is cancelled has either not joined, or leaves.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, final

from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO, Next
from distio.core.ops.cancellation import Cancel
from distio.core.ops.failures import OnFailure, from_result
from distio.core.ops.fibers import Parallel, Wait
from distio.core.ops.lists import Sequence
from distio.core.ops.locks import Locked, MakeLock, ReadVar, WriteVar
from distio.core.ops.random_streams import InGroup, OfGroup
from distio.core.ops.regions import CurrentFiber
from distio.core.ops.resources import Bracket
from distio.core.ops.unary import UnaryOp
from distio.core.ops.values import Pure
from distio.core.random_stream import Group
from distio.errors import Deadlock
from distio.protocol.requests import Lock
from distio.result import Ok, Result

__all__ = ["Memoized", "memoize"]

Program = IO[Any, Any, Any]
Computing = Handle[Any, Any, Any]


class _Computation(NamedTuple):
    """The value of a memoized program's variable, once a fiber has run the program."""

    fiber: Computing
    waiting: int
    """How many fibers have joined, and weren't cancelled. 0: what comes of it is for nobody, and
    the next fiber begins anew."""
    number: int
    """The number of fibers that have begun before this one."""


def memoize(io: Program, keeps_failures: bool) -> Program:
    """The program that makes a `Memoized` of `io`."""
    return InGroup(partial(_make, io, keeps_failures))


def _make(io: Program, keeps_failures: bool, group: Group | None) -> Program:
    return MakeLock(None).map(partial(_of_lock, io, keeps_failures, group))


def _of_lock(io: Program, keeps_failures: bool, group: Group | None, lock: Lock) -> Memoized:
    return Memoized(io, lock, keeps_failures, group)


@final
class Memoized(UnaryOp):
    """Wait for the fiber that runs an IO, and start that fiber if there is none.

    Args:
        io: what the fiber runs.
        lock: that of the variable.
        keeps_failures: whether a failure counts as the outcome for fibers that come later.
        group: has the random numbers of the fiber, if they are decided by a seed.
    """

    __slots__ = ("group", "keeps_failures", "lock")
    _names = ("io", "lock", "keeps_failures", "group")

    def __init__(self, io: Any, lock: Lock, keeps_failures: bool, group: Group | None) -> None:
        super().__init__(io)
        self.lock = lock
        self.keeps_failures = keeps_failures
        self.group = group

    def _evaluate(self, fiber: Fiber) -> Next:
        # chance decides who starts the fiber, so nobody draws other numbers for having started it
        return InGroup(partial(self._use, fiber.label, fiber.id))

    def _use(self, label: str, asker: int, _: Group | None) -> Program:
        joined = _with_variable(self.lock, partial(self._join, label, asker))
        waited = Bracket(joined, _wait, partial(_leave, self.lock))
        return waited.flat_map(_outcome)

    def _join(self, label: str, asker: int, computation: _Computation | None) -> Program:
        if computation is not None and computation.fiber.id == asker:
            raise Deadlock(
                f"fiber {label} runs a memoized program, and waits there for the value of that "
                "very program"
            )
        if computation is None or not computation.waiting:
            number = 0 if computation is None else computation.number + 1
            started = Parallel((self._computing(computation, number),))
            return started.flat_map(partial(_note, self.lock, number))
        joined = computation._replace(waiting=computation.waiting + 1)
        return _write(self.lock, joined)

    def _computing(self, last: _Computation | None, number: int) -> Program:
        """The program of the next fiber; the last fiber may still release something, and ends
        first."""
        program: Program = self.io
        if not self.keeps_failures:
            program = OnFailure(program, partial(_give_up, self.lock))
        if self.group is not None:
            program = OfGroup(program, self.group, (number,))
        return program if last is None else Sequence((Wait((last.fiber,)), program))


def _with_variable(lock: Lock, f: Any) -> Program:
    return Locked(ReadVar(lock).flat_map(f), lock)


def _write(lock: Lock, computation: _Computation) -> Program:
    """Set the variable; the value is the fiber."""
    return WriteVar(lock, computation).then(Pure(computation.fiber))


def _note(lock: Lock, number: int, started: list[Computing]) -> Program:
    return _write(lock, _Computation(started[0], 1, number))


def _wait(fiber: Computing) -> Program:
    return Wait((fiber,))


def _outcome(results: list[Result[Any, Any]]) -> Program:
    return from_result(results[0])


# -- the ends ---------------------------------------------------------------------------------


def _leave(lock: Lock, fiber: Computing, waited: Result[Any, Any]) -> Program:
    """A fiber has waited for this one, or is cancelled."""
    if isinstance(waited, Ok):
        return Pure(waited.success)
    left = _with_variable(lock, partial(_without_one, lock, fiber)).flat_map(_stop)
    return from_result(waited).finally_(partial(_itself, left))


def _itself(left: Program, waited: Result[Any, Any]) -> Program:
    return left


def _without_one(lock: Lock, fiber: Computing, computation: _Computation) -> Program:
    """Take away one fiber that waits; the value is the fibers to cancel."""
    if computation.fiber != fiber or not computation.waiting:
        return Pure(())
    left = computation._replace(waiting=computation.waiting - 1)
    return WriteVar(lock, left).then(Pure(() if left.waiting else (fiber,)))


def _stop(fibers: tuple[Computing, ...]) -> Program:
    """Cancel these fibers. Nobody waits for their ends: they may wait for the end of this fiber."""
    return Cancel(fibers) if fibers else Pure(None)


def _give_up(lock: Lock, failure: Result[Any, Any]) -> Program:
    """The fiber has failed: those that have joined get the failure, and later ones don't."""
    mine = CurrentFiber().flat_map(lambda fiber: _with_variable(lock, partial(_end, lock, fiber)))
    return mine.then(from_result(failure))


def _end(lock: Lock, fiber: Computing, computation: _Computation) -> Program:
    if computation.fiber != fiber:
        return Pure(None)
    return WriteVar(lock, computation._replace(waiting=0))
