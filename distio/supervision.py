"""Supervision: a supervisor starts its children again when they have ended.

The machine in `distio/core/supervisor.py` decides what to do. The program here does it.

>>> from distio import child, io, supervise
>>> answers = ["there", None]
>>> ask = io.defer(answers.pop).flat_map(lambda x: io.pure(x) if x else io.error("busy"))
>>> def tell(name, failure, attempt):
...     return io.defer(print, name, failure, attempt)
>>> supervise(child(ask, "asks", restart="transient"), on_restart=tell).run(None)
asks Errors(errors=['busy']) 1
Ok(success=[Ok(success='there')])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar, final, overload

import distio.io as io
from distio._public import publish
from distio.core import expect, ops
from distio.core.fiber import Handle
from distio.core.ops.arguments import spread
from distio.core.ops.base import IO, require_io
from distio.core.ops.parallel import besides_cancellation
from distio.core.random_stream import Group
from distio.core.supervisor import (
    RESTARTS,
    STRATEGIES,
    Policy,
    Restart,
    StartAgain,
    Strategy,
    Supervisor,
    Terminate,
)
from distio.errors import MatchError, MultipleExceptions, TooManyRestarts, TracedException
from distio.result import Errors, Ok, Panic, Result
from distio.result import zip as zip_results

__all__ = ["Child", "Restart", "Strategy", "child", "supervise"]

R = TypeVar("R", contravariant=True)
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)

Program = IO[Any, Any, Any]
Outcome = Result[Any, Any]
Failure = Errors[Any, Any] | Panic[Any, Any]
OnRestart = Callable[[str, Outcome, int], Program]

log: Final = logging.getLogger("distio")


# -- what users write -------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class Child(Generic[R, E, A]):
    """One child of a supervisor, made by `child`."""

    io: IO[R, E, A]
    name: str | None
    restart: Restart


def child(
    io: IO[R, E, A], name: str | None = None, restart: Restart = "permanent"
) -> Child[R, E, A]:
    """A program as the child of a supervisor.

    Args:
        io: the program, which runs in a new fiber each time.
        name: the name of the child and of its fibers; by default its place, as in "child 1".
        restart: when the supervisor starts the child again. "permanent": whenever the child has
            ended. "transient": when the child has failed, on Errors or a Panic, so also after the
            loss of its worker or a cancellation. "temporary": never.

    Returns:
        A `Child`, for `supervise`.

    Raises:
        MatchError: `io` is no IO, `name` is no name, or `restart` is another word.

    >>> child(io.pure(5), "five", restart="transient").name
    'five'
    """
    require_io(io, "child")
    if name is not None and (wrong := expect.no_name(name, "child")):
        raise MatchError(wrong)
    return Child(io, name, expect.one_of(RESTARTS, restart, "child", "restart"))


@overload
def supervise(
    children: Iterable[Child[R, E, A] | IO[R, E, A]],
    /,
    *,
    strategy: Strategy = "one_for_one",
    max_restarts: int = 3,
    within_seconds: float = 5.0,
    on_restart: OnRestart | None = None,
) -> IO[R, Any, list[Result[E, A]]]: ...
@overload
def supervise(
    *children: Child[R, E, A] | IO[R, E, A],
    strategy: Strategy = "one_for_one",
    max_restarts: int = 3,
    within_seconds: float = 5.0,
    on_restart: OnRestart | None = None,
) -> IO[R, Any, list[Result[E, A]]]: ...
def supervise(
    *children: Any,
    strategy: Strategy = "one_for_one",
    max_restarts: int = 3,
    within_seconds: float = 5.0,
    on_restart: OnRestart | None = None,
) -> IO[Any, Any, Any]:
    """Run children, each in a fiber of its own; start a child again when it has ended.

    A supervisor ends when none of its children runs any more. If a supervisor fails or is
    cancelled, it cancels its children one after another, the last one first. It ends when they have
    released what they hold. A failure to release is added to its outcome.

    Args:
        children: the children, made by `child`, or one iterable of them. A program alone is a
            permanent child.
        strategy: which children are started again. "one_for_one": the one that has ended.
            "one_for_all": all. "rest_for_one": the one that has ended, and those after it. Children
            that still run are cancelled first, the last one first. A temporary child is never
            started again, nor is a transient one that had succeeded.
        max_restarts: the largest number of restarts in `within_seconds`, from 0, of all children
            together. At one more the supervisor gives up.
        within_seconds: the time for which a restart counts, in seconds.
        on_restart: a function that is called as `on_restart(name, result, attempt)` at each
            restart. The supervisor runs the returned program before it starts any child again. If
            that program fails, so does the supervisor. `name` is the name of the child that has
            ended. `result` is its Result, with the failures of others to release. `attempt` is the
            number of restarts that this child has caused, from 1. By default a line is logged.

    Returns:
        A program that computes the list of the last Results of the children, in their order.

        If the supervisor gives up, the outcome is a Panic: first comes `TooManyRestarts`, then the
        failure of the child that had ended, then the failures of others to release.

    Raises:
        MatchError: one of the children is no IO, or an argument is of another kind.
        ValueError: `max_restarts` is less than 0.

    >>> from distio import child, io, supervise
    >>> once = child(io.pure("done"), restart="transient")
    >>> supervise(once, child(io.error("no"), restart="temporary")).run(None)
    Ok(success=[Ok(success='done'), Errors(errors=['no'])])
    """
    where = "supervise"
    specs = tuple([_child(place, each) for place, each in enumerate(spread(children), 1)])
    expect.one_of(STRATEGIES, strategy, where, "strategy")
    expected = "max_restarts is a whole number from 0"
    if expect.integer(max_restarts, where, expected) < 0:
        raise ValueError(f"{where}: {expected}, but got {max_restarts}")
    if wrong := expect.no_window(within_seconds, f"{where}, within_seconds"):
        raise MatchError(wrong)
    told = _log if on_restart is None else expect.function(on_restart, f"{where}, on_restart")
    policy = Policy(tuple([each.restart for each in specs]), strategy, max_restarts, within_seconds)
    return ops.InGroup(partial(_begin, specs, policy, told))


def _child(place: int, found: Any) -> Child[Any, Any, Any]:
    spec = found if isinstance(found, Child) else child(require_io(found, "supervise"))
    return spec if spec.name is not None else child(spec.io, f"child {place}", spec.restart)


def _log(name: str, result: Outcome, attempt: int) -> Program:
    return io.defer(_write, name, result, attempt)


def _write(name: str, result: Outcome, attempt: int) -> None:
    story = with_tracebacks(result)
    log.warning("child %r has ended, and is started again (%d): %s", name, attempt, story)


def with_tracebacks(result: Outcome) -> object:
    """The Result for a log: a panic becomes an exception with all failures and tracebacks."""
    if isinstance(result, Panic):
        return MultipleExceptions(result.exceptions, result.errors)
    return result


# -- the program ------------------------------------------------------------------------------


def _begin(
    specs: tuple[Child[Any, Any, Any], ...],
    policy: Policy,
    on_restart: OnRestart,
    group: Group | None,
) -> Program:
    return _Supervision(specs, policy, on_restart, group).run()


@final
class _Supervision:
    """One run of a supervisor.

    It is plain data. The program that waits, and the one that stops the children in the end, refer
    to the same one (they travel in one pickle), so that no moment is left in which a child is known
    to nobody.
    """

    __slots__ = ("fibers", "group", "lives", "machine", "on_restart", "policy", "results", "specs")

    def __init__(
        self,
        specs: tuple[Child[Any, Any, Any], ...],
        policy: Policy,
        on_restart: OnRestart,
        group: Group | None,
    ) -> None:
        self.specs = specs
        self.policy = policy
        self.on_restart = on_restart
        self.machine = Supervisor(policy)
        self.fibers: dict[int, Handle[Any, Any, Any]] = {}
        """The fibers of the children that run, by their places."""
        self.results: dict[int, Outcome] = {}
        """The outcomes of the other children, and of earlier lives of those that run."""
        self.group = group
        """The group in which each life of each child has a stream, if there is a seed; and then, in
        the places after all children, each call of `on_restart`."""
        self.lives = [0] * len(specs)
        """How often each child was started."""

    def run(self) -> Program:
        started = self._start(tuple(range(len(self.specs))))
        return started.flat_map(self._wait).finally_(self._end)

    def _start(self, children: tuple[int, ...]) -> Program:
        programs = tuple([self._program(child) for child in children])
        started: Program = ops.Parallel(programs, are_owned=True)
        # nobody is cancelled between these two
        return started.map(partial(self._have_started, children))

    def _program(self, child: int) -> Program:
        """The program for the next life of a child."""
        spec = self.specs[child]
        self.lives[child] += 1
        return self._of_group(io.named(str(spec.name), spec.io), child, self.lives[child])

    def _of_group(self, program: Program, *place: int) -> Program:
        return program if self.group is None else ops.OfGroup(program, self.group, place)

    def _have_started(self, children: tuple[int, ...], fibers: list[Handle[Any, Any, Any]]) -> None:
        self.fibers.update(zip(children, fibers))

    def _wait(self, _: object) -> Program:
        running = sorted(self.fibers.items())
        if not running:
            return io.pure([self.results[place] for place in range(len(self.specs))])
        some = ops.WaitSome(tuple([fiber for _, fiber in running]), 1)
        return some.flat_map(partial(self._have_ended, running))

    def _have_ended(
        self, running: list[tuple[int, Handle[Any, Any, Any]]], results: list[Outcome | None]
    ) -> Program:
        """Take up all that have ended, each in turn, before looking again: none is passed over."""
        ended = [
            (child, fiber, result)
            for (child, fiber), result in zip(running, results)
            if result is not None
        ]
        return io.traverse(ended, self._has_ended).flat_map(self._wait)

    def _has_ended(self, ended: tuple[int, Handle[Any, Any, Any], Outcome]) -> Program:
        child, fiber, result = ended
        if self.fibers.get(child) != fiber:
            return io.pure(None)  # it has been stopped together with another one
        del self.fibers[child]
        self.results[child] = result
        return io.now.flat_map(partial(self._decide, child, result))

    def _decide(self, child: int, result: Outcome, now: float) -> Program:
        decision = self.machine.ended(child, isinstance(result, Ok), now)
        if decision is None:
            return io.pure(None)
        stopped = self._stop(decision.stop)
        if isinstance(decision, Terminate):
            return stopped.flat_map(partial(self._give_up, decision, result))
        return stopped.flat_map(partial(self._start_again, decision, result))

    def _start_again(
        self, decision: StartAgain, result: Outcome, failures: list[Failure]
    ) -> Program:
        ended_well = {child for child in decision.stop if isinstance(self.results[child], Ok)}
        children = self.machine.stopped(decision, ended_well)
        name = str(self.specs[decision.child].name)
        told = self.on_restart(name, _merged(result, failures), decision.attempt)
        told = require_io(told, "supervise, on_restart", self.on_restart)
        place = len(self.specs) + decision.child, decision.attempt
        return self._of_group(told, *place).then(self._start(children))

    def _give_up(self, decision: Terminate, result: Outcome, failures: list[Failure]) -> Program:
        name = str(self.specs[decision.child].name)
        policy = self.policy
        exception = TooManyRestarts(name, policy.max_restarts, policy.within_seconds)
        gives_up: Outcome = Panic([TracedException(exception, str(exception))], [])
        return io.from_result(_merged(gives_up, [_merged(result, failures)]))

    def _end(self, _: object) -> Program:
        """The supervisor ends: each child that still runs is stopped."""
        return self._stop(tuple(sorted(self.fibers, reverse=True))).flat_map(_all_of)

    def _stop(self, children: tuple[int, ...]) -> Program:
        """Cancel these and wait for their ends, in turn; what has failed besides is the value."""
        return io.traverse(children, self._stop_one).map(_failures)

    def _stop_one(self, child: int) -> Program:
        fiber = self.fibers[child]
        return fiber.cancel().map(partial(self._has_stopped, child, fiber))

    def _has_stopped(
        self, child: int, fiber: Handle[Any, Any, Any], result: Outcome
    ) -> Failure | None:
        del self.fibers[child]
        self.results[child] = result
        return besides_cancellation(fiber, result)


def _failures(results: list[Failure | None]) -> list[Failure]:
    return [result for result in results if result is not None]


def _all_of(failures: list[Failure]) -> Program:
    return io.from_result(_merged(Ok(None), failures))


def _merged(result: Outcome, others: Sequence[Outcome]) -> Outcome:
    """This Result, and after it the failures among others."""
    failures = [each for each in others if not isinstance(each, Ok)]
    if not failures:
        return result
    return zip_results([result, *failures])


publish(__name__, globals())
