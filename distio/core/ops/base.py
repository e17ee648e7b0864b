"""`IO`, the type of programs, with the methods that combine and run them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, overload

import distio.core.ops as ops
from distio._display.progress import Progress
from distio._hints import OF_RETRY, OF_RUN, hint_at, says_instead
from distio.core import expect
from distio.core.ops.arguments import container_of, programs, require_exceptions, require_io
from distio.core.ops.frame import Frame
from distio.core.ops.operation import Operation
from distio.core.outside import is_outside, value_of
from distio.core.type_vars import A2, A3, A4, A5, A6, E2, E3, E4, E5, E6, MYPY, R2
from distio.errors import MatchError, TimedOut, TracedException
from distio.result import Result
from distio.schedule import Schedule, require_schedule

if TYPE_CHECKING:
    from distio.core.fiber import Handle
    from distio.runtime.run import Cluster  # the type that `run` takes comes by the same door

__all__ = [
    "IO",
    "Frame",
    "Next",
    "require_io",
]

R = TypeVar("R", contravariant=True)
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)
X = TypeVar("X")
_new = object.__new__
ES = TypeVar("ES")
"""The errors of the program itself, in a method that needs a value of a certain type."""


@hint_at("IO")
class IO(Operation, Generic[R, E, A]):
    """A program that reads a context `R`, may fail with errors `E`, and computes an `A`.

    An IO is a value, and lazy: nothing happens until `run`. The functions of `distio.io` and the
    methods below make IOs; programs never subclass IO. Running an IO never raises: every failure is
    in the `Result`. An IO of any depth builds, runs, prints and pickles.

    >>> from distio import io
    >>> io.pure(20).map(lambda x: x + 1).then_keep(io.pure("ignored")).run(None)
    Ok(success=21)
    """

    __slots__ = ()

    if not MYPY:  # which would take a condition for one that is never true, in silence

        def __bool__(self) -> Never:
            """Refuse: whoever asks has forgotten to run it, and would always hear True."""
            raise MatchError(
                "a program is neither true nor false before it has run: await it in a function of "
                "io.do, use its value in flat_map, or run it; `is not None` asks if there is one"
            )

    def __await__(self) -> Generator[Any, Any, A]:
        """Run this: the `await` has its value, or raises its failure as an exception.

        In a function of `io.do`, the fiber that runs the function runs this. In any other coroutine
        of asyncio or trio, this runs as by `run_async(None)`, on threads of this process.
        """
        try:
            return (yield self)  # type: ignore[no-any-return]  # its runner knows the type
        except (RuntimeError, TypeError):
            if not is_outside():
                raise
        # the loop has refused the program, which so has not begun
        return (yield from value_of(self).__await__())  # type: ignore[no-any-return]  # its value

    # -- values ---------------------------------------------------------------------------

    def map(self, f: Callable[[A], A2]) -> IO[R, E, A2]:
        """Apply `f` to the value."""
        made = _new(ops.Map)  # without a call of `__init__`: these two are made in numbers
        made.io, made.f = self, f if callable(f) else expect.function(f, "map")  # type: ignore[redundant-expr]  # quick
        return made

    def flat_map(self, f: Callable[[A], IO[R, E2, A2]]) -> IO[R, E | E2, A2]:
        """Go on with the IO that `f` makes of the value."""
        made = _new(ops.FlatMap)
        made.io, made.f = self, f if callable(f) else expect.function(f, "flat_map")  # type: ignore[redundant-expr]  # quick
        return made

    def flatten(self: IO[R2, E2, IO[R2, E3, A2]]) -> IO[R2, E2 | E3, A2]:
        """Run the IO that this one computes."""
        if isinstance(self, ops.Pure) and isinstance(self.value, IO):
            return self.value
        return ops.Flatten(self)

    # -- lists ----------------------------------------------------------------------------

    @overload
    def then(self, others: Iterable[IO[R, E2, A2]], /) -> IO[R, E | E2, A2]: ...
    @overload
    def then(self, b: IO[R, E2, A2], /) -> IO[R, E | E2, A2]: ...
    @overload
    def then(self, b: IO[R, E2, Any], c: IO[R, E3, A3], /) -> IO[R, E | E2 | E3, A3]: ...
    @overload
    def then(
        self, b: IO[R, E2, Any], c: IO[R, E3, Any], d: IO[R, E4, A4], /
    ) -> IO[R, E | E2 | E3 | E4, A4]: ...
    @overload
    def then(
        self,
        b: IO[R, E2, A2],
        c: IO[R, E2, A2],
        d: IO[R, E2, A2],
        e: IO[R, E2, A2],
        /,
        *more: IO[R, E2, A2],
    ) -> IO[R, E | E2, A2]: ...
    def then(self, *others: Any) -> IO[Any, Any, Any]:
        """Run this, then each of `others` (IOs, or one iterable of them); keep the last value."""
        return ops.Sequence((self, *programs(others, "then")))

    @overload
    def then_keep(self, args: Iterable[IO[R, E2, Any]], /) -> IO[R, E | E2, A]: ...
    @overload
    def then_keep(self, b: IO[R, E2, Any], /) -> IO[R, E | E2, A]: ...
    @overload
    def then_keep(self, b: IO[R, E2, Any], c: IO[R, E3, Any], /) -> IO[R, E | E2 | E3, A]: ...
    @overload
    def then_keep(
        self, b: IO[R, E2, Any], c: IO[R, E2, Any], d: IO[R, E2, Any], /, *more: IO[R, E2, Any]
    ) -> IO[R, E | E2, A]: ...
    def then_keep(self, *args: Any) -> IO[Any, Any, Any]:
        """Run this, then each of `args`; keep the value of this one."""
        return ops.ThenKeep((self, *programs(args, "then_keep")))

    @overload
    def zip(self, others: Iterable[IO[R, E2, A2]], /) -> IO[R, E | E2, list[A | A2]]: ...
    @overload
    def zip(self, b: IO[R, E2, A2], /) -> IO[R, E | E2, tuple[A, A2]]: ...
    @overload
    def zip(
        self, b: IO[R, E2, A2], c: IO[R, E3, A3], /
    ) -> IO[R, E | E2 | E3, tuple[A, A2, A3]]: ...
    @overload
    def zip(
        self, b: IO[R, E2, A2], c: IO[R, E3, A3], d: IO[R, E4, A4], /
    ) -> IO[R, E | E2 | E3 | E4, tuple[A, A2, A3, A4]]: ...
    @overload
    def zip(
        self, b: IO[R, E2, A2], c: IO[R, E3, A3], d: IO[R, E4, A4], e: IO[R, E5, A5], /
    ) -> IO[R, E | E2 | E3 | E4 | E5, tuple[A, A2, A3, A4, A5]]: ...
    @overload
    def zip(
        self,
        b: IO[R, E2, A2],
        c: IO[R, E3, A3],
        d: IO[R, E4, A4],
        e: IO[R, E5, A5],
        f: IO[R, E6, A6],
        /,
    ) -> IO[R, E | E2 | E3 | E4 | E5 | E6, tuple[A, A2, A3, A4, A5, A6]]: ...
    @overload
    def zip(
        self,
        b: IO[R, E2, A2],
        c: IO[R, E2, A2],
        d: IO[R, E2, A2],
        e: IO[R, E2, A2],
        f: IO[R, E2, A2],
        g: IO[R, E2, A2],
        /,
        *more: IO[R, E2, A2],
    ) -> IO[R, E | E2, tuple[A | A2, ...]]: ...
    def zip(self, *others: Any) -> IO[Any, Any, Any]:
        """Run this, then each of `others`; compute the tuple of all values.

        Of one iterable of programs, and this one, it is the list of all values.
        """
        return ops.Zip((self, *programs(others, "zip")), container_of(others))

    def ap(
        self: IO[R2, ES, Callable[..., X]], *arg: IO[R2, E2, Any] | Iterable[IO[R2, E2, Any]]
    ) -> IO[R2, ES | E2, X]:
        """Call the function that this computes with the values of `arg`."""
        return ops.Zip((self, *programs(arg, "ap"))).map(_apply)

    # -- concurrency ----------------------------------------------------------------------

    @overload
    def parallel(self) -> IO[R, Never, list[Handle[R, E, A]]]: ...
    @overload
    def parallel(
        self, *others: IO[R, E2, A2] | Iterable[IO[R, E2, A2]]
    ) -> IO[R, Never, list[Handle[R, E | E2, A | A2]]]: ...
    def parallel(self, *others: Any) -> IO[Any, Never, list[Any]]:
        """Start a fiber for this and each of `others`; compute the list of their handles."""
        return ops.Parallel((self, *programs(others, "parallel")))

    @overload
    def zip_par(
        self, others: Iterable[IO[R, E2, A2]], /, *, fail_fast: bool = True
    ) -> IO[R, E | E2, list[A | A2]]: ...
    @overload
    def zip_par(
        self, b: IO[R, E2, A2], /, *, fail_fast: bool = True
    ) -> IO[R, E | E2, tuple[A, A2]]: ...
    @overload
    def zip_par(
        self, b: IO[R, E2, A2], c: IO[R, E3, A3], /, *, fail_fast: bool = True
    ) -> IO[R, E | E2 | E3, tuple[A, A2, A3]]: ...
    @overload
    def zip_par(
        self, b: IO[R, E2, A2], c: IO[R, E3, A3], d: IO[R, E4, A4], /, *, fail_fast: bool = True
    ) -> IO[R, E | E2 | E3 | E4, tuple[A, A2, A3, A4]]: ...
    @overload
    def zip_par(
        self,
        b: IO[R, E2, A2],
        c: IO[R, E3, A3],
        d: IO[R, E4, A4],
        e: IO[R, E5, A5],
        /,
        *,
        fail_fast: bool = True,
    ) -> IO[R, E | E2 | E3 | E4 | E5, tuple[A, A2, A3, A4, A5]]: ...
    @overload
    def zip_par(
        self,
        b: IO[R, E2, A2],
        c: IO[R, E3, A3],
        d: IO[R, E4, A4],
        e: IO[R, E5, A5],
        f: IO[R, E6, A6],
        /,
        *,
        fail_fast: bool = True,
    ) -> IO[R, E | E2 | E3 | E4 | E5 | E6, tuple[A, A2, A3, A4, A5, A6]]: ...
    @overload
    def zip_par(
        self,
        b: IO[R, E2, A2],
        c: IO[R, E2, A2],
        d: IO[R, E2, A2],
        e: IO[R, E2, A2],
        f: IO[R, E2, A2],
        g: IO[R, E2, A2],
        /,
        *more: IO[R, E2, A2],
        fail_fast: bool = True,
    ) -> IO[R, E | E2, tuple[A | A2, ...]]: ...
    def zip_par(self, *others: Any, fail_fast: bool = True) -> IO[Any, Any, Any]:
        """Run this and `others` at the same time; compute the tuple of all values.

        Of one iterable of programs, and this one, it is the list of all values. The first failure
        cancels the others, unless `fail_fast` is false: see `io.zip_par`.
        """
        started = ops.zip_par((self, *programs(others, "zip_par")), "zip_par", fail_fast)
        return started if container_of(others) is list else ops.AsTuple(started)

    def memoize(self, *, keep_failures: bool = True) -> IO[Any, Never, IO[R, E, A]]:
        """Compute a program that runs this once, however many fibers run it; see `io.memoize`."""
        return ops.memoize(self, keep_failures)

    # -- context --------------------------------------------------------------------------

    def contra_map_read(self, f: Callable[[R2], R]) -> IO[R2, E, A]:
        """Run this with `f(context)` as its context."""
        return ops.ContraMapRead(self, f)

    # -- failures -------------------------------------------------------------------------

    def catch(self, handler: Callable[[list[E]], IO[R, E2, A2]]) -> IO[R, E2, A | A2]:
        """On Errors, go on with `handler(errors)`.

        Args:
            handler: is called with the list of all errors; most often there is one.

        >>> from distio import io
        >>> io.error("busy").catch(lambda errors: io.pure(f"not now: {errors[0]}")).run(None)
        Ok(success='not now: busy')
        """
        return ops.Catch(self, handler)

    def map_error(self, f: Callable[[E], E2]) -> IO[R, E2, A]:
        """Apply `f` to each error, of Errors and of a Panic."""
        return ops.MapError(self, f)

    def recover(
        self, handler: Callable[[list[TracedException], list[E]], IO[R, E2, A2]]
    ) -> IO[R, E | E2, A | A2]:
        """On a Panic, go on with `handler(exceptions, errors)`."""
        return ops.Recover(self, handler)

    def map_panic(
        self, f: Callable[[TracedException], BaseException | TracedException]
    ) -> IO[R, E, A]:
        """Apply `f` to each exception of a Panic."""
        return ops.MapPanic(self, f)

    def attempt(self) -> IO[R, Never, Result[E, A]]:
        """Never fail: compute the Result."""
        return ops.Attempt(self)

    def finally_(self, after: Callable[[Result[E, A]], IO[R, E2, Any]]) -> IO[R, E | E2, A]:
        """Run `after(result)` whatever happened, then go on with the result.

        When `after` fails too, both failures are kept.
        """
        return ops.Finally(self, after)

    def on_failure(self, handler: Callable[[Result[E, A]], IO[R, E2, A2]]) -> IO[R, E2, A | A2]:
        """On Errors or a Panic, go on with `handler(result)`."""
        return ops.OnFailure(self, handler)

    def named(self, name: str) -> IO[R, E, A]:
        """Run this under a name, which logs and errors show with the fiber; see `io.named`."""
        return ops.named(self, name)

    def seeded(self, seed: int) -> IO[R, E, A]:
        """Run this so that `seed` decides its random numbers; see `io.seeded`."""
        return ops.Seeded(self, expect.integer(seed, "seeded", "the seed is a whole number"))

    # -- cancellation ---------------------------------------------------------------------

    def uncancelable(self) -> IO[R, E, A]:
        """Run this so that it can't be cancelled: a cancellation of the fiber waits for its end."""
        return ops.Uncancelable(self)

    def on_cancel(self, after: IO[R, Any, Any]) -> IO[R, E, A]:
        """Run this; if the fiber is cancelled meanwhile, run `after`, which can't be cancelled."""
        return ops.on_cancel(self, after)

    @overload
    def timeout(self, seconds: float, otherwise: None = None) -> IO[R, E | TimedOut, A]: ...
    @overload
    def timeout(self, seconds: float, otherwise: IO[R, E2, A2]) -> IO[R, E | E2, A | A2]: ...
    def timeout(
        self, seconds: float, otherwise: IO[Any, Any, Any] | None = None
    ) -> IO[Any, Any, Any]:
        """Run this; after `seconds` cancel it and run `otherwise`, or fail on `TimedOut`."""
        return ops.timeout(self, seconds, otherwise)

    # -- again and again ------------------------------------------------------------------

    def repeat(self, schedule: Schedule) -> IO[R, E, A]:
        """On success, run this again as long as the schedule says; compute the last value.

        The first failure is the outcome.

        Args:
            schedule: says how often, and after which delays.

        Raises:
            TypeError: `schedule` is no Schedule.

        >>> from distio import io, schedule
        >>> left = [3, 2, 1]
        >>> io.defer(left.pop).repeat(schedule.recurs(2)).run(None)
        Ok(success=3)
        """
        return ops.Repeat(self, require_schedule("repeat", schedule))

    @says_instead(**OF_RETRY)
    def retry(self, schedule: Schedule) -> IO[R, E, A]:
        """On Errors, run this again as long as the schedule says.

        When the schedule is done, the last failure is the outcome. A Panic is not retried.

        Args:
            schedule: says how often, and after which delays.

        Raises:
            TypeError: `schedule` is no Schedule.

        >>> from distio import io, schedule
        >>> answers = ["there", None, None]
        >>> call = io.defer(answers.pop).flat_map(lambda x: io.pure(x) if x else io.error("busy"))
        >>> call.retry(schedule.exponential(0.001).jittered().times(5)).run(None)
        Ok(success='there')
        """
        return ops.Retry(self, require_schedule("retry", schedule))

    def retry_panic(self, schedule: Schedule, *exceptions: type[BaseException]) -> IO[R, E, A]:
        """On a Panic with exceptions of these classes alone, run this again as `retry` does.

        A Panic with a single exception of another class is not retried. Errors in the Panic make no
        difference.

        Args:
            schedule: says how often, and after which delays.
            exceptions: the classes, at least one.

        Raises:
            TypeError: `schedule` is no Schedule, there is no class, or one is no class of
                exceptions.

        >>> from distio import io, schedule
        >>> io.defer(lambda: 1 / 0).retry_panic(schedule.recurs(3), OSError).run(None).is_panic()
        True
        """
        schedule = require_schedule("retry_panic", schedule)
        return ops.RetryPanic(self, schedule, require_exceptions("retry_panic", exceptions))

    # -- running --------------------------------------------------------------------------

    @says_instead(**OF_RUN)
    def run(
        self,
        context: R,
        pool_size: int = 1,
        idle_time: float = 0.01,
        *,
        on: Cluster | None = None,
        nighttime: float | None = None,
        has: Mapping[str, str | float] | None = None,
        progress: Progress = None,
    ) -> Result[E, A]:
        """Run this program and wait for it and for every fiber it started.

        Args:
            context: the value that `io.read` computes.
            pool_size: how many threads of this process step fibers, from 1. With `on`, fibers
                that live here are stepped by the cluster's own threads and this is not used.
            idle_time: accepted for programs written for raffiot, and ignored: an idle thread
                blocks until there is work, so there is no time to choose.
            on: a `Cluster`; the root stays in this process and its children travel.
            nighttime: what raffiot calls `idle_time`; ignored, too.
            has: what this process has for `io.placed`, in a run without a cluster, as `needs` says
                it: tags and amounts. None: whatever placed fibers need.
            progress: True, or a label: a bar on the terminal or in the notebook, else a line now
                and then, of how many fibers have ended, and of how many are known. A function is
                called as `progress(ended, known)` by another thread, at most 10 times a second, and
                last when the run is over. If it raises, that is logged, and it is called no more.

        Returns:
            Ok, Errors or Panic: no failure of the program is raised.

        Raises:
            MatchError: `pool_size` is no number from 1, `on` no cluster, or `progress` something
                else.
            KeyboardInterrupt: Ctrl-C has ended the run, or a function has raised it.
            SystemExit: with code 143 or 129: SIGTERM or SIGHUP has ended the run.
            BaseException: a signal handler of the program has raised it meanwhile.

        >>> from distio import io
        >>> io.defer(lambda: 1 / 0).map_panic(lambda e: e.exception).run(None).is_panic()
        True
        """
        from distio.runtime.run import run

        return run(self, context, pool_size, on, has, progress)

    async def run_async(
        self,
        context: R,
        pool_size: int = 1,
        *,
        on: Cluster | None = None,
        has: Mapping[str, str | float] | None = None,
        progress: Progress = None,
    ) -> Result[E, A]:
        """`run` from asyncio or trio: `await main.run_async(context)`; the loop goes on meanwhile.

        The run holds no thread while it waits. Its coroutines (`io.from_coroutine`) run on this
        loop, in the fibers that are in this process. If the task is cancelled, so is the run, and
        the task ends when the run has ended.

        Args:
            context: as for `run`.
            pool_size: as for `run`; the threads are others than the event loop's.
            on: as for `run`.
            has: as for `run`.
            progress: as for `run`.

        Raises:
            MatchError: as for `run`.
            RuntimeError: it is awaited in no task of asyncio or trio.

        >>> import asyncio
        >>> from distio import io
        >>> asyncio.run(io.pure(5).run_async(None))
        Ok(success=5)
        """
        from distio.runtime.run import run_async

        return await run_async(self, context, pool_size, on, has, progress)


Next = IO[Any, Any, Any] | None


def _apply(values: list[Any]) -> Any:
    return expect.function(values[0], "ap")(*values[1:])
