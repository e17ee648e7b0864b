"""Schedules, in every place: runs at moments, their failures, and the end."""

from __future__ import annotations

import logging
import math
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import pytest

from distio import IO, Deferred, Errors, Ok, Panic, Queue, Var, io, recurring
from distio.errors import MatchError
from distio.testing import simulate
from tests.conftest import Run

Program = IO[Any, Any, Any]

FAST: Final = 0.001


def put_numbers(queue: Queue[int], drawn: Var[int]) -> Program:
    """A run that puts 1 the first time, then 2, and so on."""
    return drawn.update(lambda n: (n + 1, n + 1)).flat_map(lambda both: queue.put(both.returned))


def take(count: int, queue: Queue[Any]) -> Program:
    return io.zip([queue.take()] * count)


@pytest.mark.slow
def test_program_is_run_again_and_again(run: Run) -> None:
    def both(queue: Queue[int], drawn: Var[int]) -> Program:
        return io.race(recurring.every(FAST, put_numbers(queue, drawn)), take(3, queue))

    main = Queue.create().flat_map(lambda queue: Var.create(0).flat_map(partial(both, queue)))
    assert run(main) == Ok([1, 2, 3])


@pytest.mark.slow
def test_function_is_called_with_moments_at_equal_distances(run: Run) -> None:
    def both(queue: Queue[datetime]) -> Program:
        return io.race(recurring.every(0.01, queue.put, catch_up="all"), take(3, queue))

    first, second, third = run(Queue.create().flat_map(both)).unsafe_get()
    assert first.tzinfo == UTC
    assert second - first == pytest.approx(timedelta(seconds=0.01), abs=timedelta(microseconds=2))
    assert third - second == pytest.approx(timedelta(seconds=0.01), abs=timedelta(microseconds=2))


@pytest.mark.slow
def test_first_moment_is_the_start_and_moments_before_the_beginning_do_not_count() -> None:
    def both(start: datetime, queue: Queue[datetime]) -> Program:
        return io.race(recurring.every(60, queue.put, start=start), take(2, queue))

    midnight = datetime(2000, 1, 1, tzinfo=UTC)
    for start, expected in [
        (midnight + timedelta(hours=1), midnight + timedelta(hours=1)),
        (midnight - timedelta(days=1, seconds=30), midnight + timedelta(seconds=30)),
    ]:
        result: Any = simulate(Queue.create().flat_map(partial(both, start))).result
        assert result == Ok([expected, expected + timedelta(minutes=1)])


# -- failures ---------------------------------------------------------------------------------


def no_program(moment: datetime) -> Any:
    return moment


def raises(moment: datetime) -> Program:
    raise ValueError("not today")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (io.error("busy"), "Errors(errors=['busy'])"),
        (io.panic(ValueError("broken")), "broken"),
        (raises, "not today"),
        (no_program, "expected an IO from the function no_program"),
    ],
    ids=["errors", "panic", "raises", "no program"],
)
def test_run_that_fails_is_told_and_the_schedule_goes_on(
    program: Any, expected: str, run: Run
) -> None:
    def tell(queue: Queue[str], times: Var[int], moment: datetime, result: Any) -> Program:
        panic = isinstance(result, Panic)
        text = str(result.exceptions[0].exception) if panic else str(result)
        # the end comes while the schedule waits: it would tell of the failure of a third run
        before = times.update(lambda n: (n + 1, n)).map(lambda told: told.returned)
        return queue.put(text).then(before.flat_map(lambda n: io.sleep(3600 * n)))

    def both(queue: Queue[str], times: Var[int]) -> Program:
        schedule = recurring.every(FAST, program, on_failure=partial(tell, queue, times))
        return io.race(schedule, take(2, queue))

    main = Queue.create().flat_map(lambda queue: Var.create(0).flat_map(partial(both, queue)))
    told = run(main).unsafe_get()
    assert [expected in each for each in told] == [True, True]


def test_failure_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    main = io.race(recurring.every(60, raises), io.sleep(0.5))
    assert simulate(main).result == Ok(None)
    [record] = [each for each in caplog.records if each.name == "distio"]
    assert record.levelno == logging.ERROR
    text = record.getMessage()
    assert "the run of 20" in text
    assert "and the schedule goes on" in text
    assert "in raises" in text
    assert "ValueError: not today" in text


def test_schedule_ends_with_the_failure_of_the_program_that_is_told(run: Run) -> None:
    def stop(moment: datetime, result: Any) -> Program:
        return io.errors([*result.errors, "so it stops"])

    main = recurring.every(FAST, io.error("broken"), on_failure=stop)
    assert run(main) == Errors(["broken", "so it stops"])


def test_on_failure_that_returns_no_program_is_a_panic_that_says_so(run: Run) -> None:
    wrong: Any = lambda moment, result: None  # noqa: E731 (it is tested)
    result: Any = run(recurring.every(FAST, io.error("broken"), on_failure=wrong))
    assert "on_failure: expected an IO from the function" in str(result.exceptions[0].exception)


def test_schedule_that_is_cancelled_cancels_its_run_which_releases(run: Run) -> None:
    def both(begun: Deferred[None], released: Deferred[str]) -> Program:
        work = begun.set(None).then(io.sleep(3600)).finally_(lambda _: released.set("released"))
        schedule = io.parallel(recurring.every(60, work))
        cancelled = schedule.flat_map(
            lambda fibers: begun.get().then(fibers[0].cancel()).then(io.wait(fibers))
        )
        return io.zip(cancelled.attempt(), released.get())

    main = io.zip(Deferred.create(), Deferred.create()).flat_map(lambda made: both(*made))
    [_, word] = run(main).unsafe_get()
    assert word == "released"


# -- arguments --------------------------------------------------------------------------------

TICK: Final[Program] = io.pure(None)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: recurring.every("1", TICK),  # type: ignore[arg-type]
            MatchError,
            "every: seconds is a number from 0.001, finite, but got '1' of type str",
        ),
        (lambda: recurring.every(0, TICK), ValueError, "every: seconds is a number from 0.001"),
        (lambda: recurring.every(math.inf, TICK), MatchError, "finite, but got inf"),
        (lambda: recurring.every(1, 5), MatchError, "every: expected an IO, but got 5"),  # type: ignore[arg-type]
        (
            lambda: recurring.every(1, TICK, start=5),  # type: ignore[arg-type]
            MatchError,
            "start is a datetime with a time zone, or None, but got 5",
        ),
        (
            lambda: recurring.every(1, TICK, start=datetime(2026, 1, 1)),
            ValueError,
            "has none; give it a tzinfo",
        ),
        (
            lambda: recurring.every(1, TICK, catch_up="none"),  # type: ignore[arg-type]
            MatchError,
            "every: catch_up is 'all' or 'once' or 'skip', but got 'none'",
        ),
        (
            lambda: recurring.every(1, TICK, max_late_seconds=-1),
            ValueError,
            "every: max_late_seconds is at least 0, but got -1",
        ),
        (
            lambda: recurring.every(1, TICK, max_late_seconds="1"),  # type: ignore[arg-type]
            MatchError,
            "max_late_seconds is a number of seconds from 0, or None, but got '1'",
        ),
        (
            lambda: recurring.every(1, TICK, on_failure=TICK),  # type: ignore[arg-type]
            MatchError,
            "every, on_failure: expected a function",
        ),
        (
            lambda: recurring.cron(5, TICK),  # type: ignore[arg-type]
            MatchError,
            "cron: the expression is a str, but got 5",
        ),
        (
            lambda: recurring.cron("99 2 * * *", TICK),
            ValueError,
            "cron: expected minute, hour, day of the month, month, day of the week, "
            "as in '0 2 \\* \\* mon-fri', but got '99 2 \\* \\* \\*': Bad minute",
        ),
        (
            lambda: recurring.cron("* * * * *", TICK, timezone="Europe/Berlim"),
            ValueError,
            "cron: timezone is the key of a time zone .* but got 'Europe/Berlim'",
        ),
        (
            lambda: recurring.cron("* * * * *", TICK, timezone="../etc"),
            ValueError,
            "but got '../etc'",
        ),
    ],
)
def test_wrong_argument_is_found_out_when_the_schedule_is_built(
    make: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_cron_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(
        ImportError, match=r"need the package cronsim: pip install 'distio\[cron\]'"
    ):
        recurring.cron("* * * * *", TICK)
