"""Schedules over days of virtual time: each moment begins once, whoever dies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from distio import IO, Ok, Panic, Var, io, recurring
from distio.errors import Cancelled, WorkerLost
from distio.recurring import CatchUp
from distio.testing import Crash, Disconnect, Fault, Interrupt, Leave, Restart, simulate
from distio.testing.durable import simulate_durable

Program = IO[Any, Any, Any]
Moments = Var[list[datetime]]

HOUR: Final = 3600.0
PERIOD: Final = 140.0
"""Members wait for a coordinator for some of these."""
MIDNIGHT: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""When simulations begin."""


def hour(number: int) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


def hours(*numbers: int) -> list[datetime]:
    return [hour(number) for number in numbers]


def notes(moments: Moments, moment: datetime) -> Program:
    """A run: note the moment, once, whatever becomes of the worker."""
    return moments.update(lambda seen: ([*seen, moment], None))


def notes_and_works(seconds: float, moments: Moments, moment: datetime) -> Program:
    return notes(moments, moment).then(io.sleep(seconds))


def nth(*numbers: float) -> list[datetime]:
    """Moments of `periodic`."""
    return [MIDNIGHT + timedelta(seconds=PERIOD * number) for number in numbers]


def scheduled(make: Any, until: float) -> Program:
    """Let a schedule go on for some time; compute the moments that were noted."""

    def both(moments: Moments) -> Program:
        ends = io.sleep_until(MIDNIGHT.timestamp() + until)
        return io.race(make(moments), ends).then(moments.get())

    return Var.create(list[datetime]()).flat_map(both)


def hourly(work: Any = notes, **options: Any) -> Any:
    """A schedule of each full hour, from the first one on."""
    return lambda moments: recurring.every(HOUR, partial(work, moments), start=hour(1), **options)


def periodic(work: Any = notes, **options: Any) -> Any:
    """A schedule with a moment each `PERIOD`."""
    [start] = nth(1)
    return lambda moments: recurring.every(PERIOD, partial(work, moments), start=start, **options)


@pytest.mark.slow
def test_schedule_of_three_days_runs_at_each_moment_once() -> None:
    simulation = simulate(scheduled(hourly(), 72.5 * HOUR))
    assert simulation.result == Ok(hours(*range(1, 73)))


def test_cron_in_a_time_zone_runs_when_its_clocks_say_so() -> None:
    """The clocks are put forward in the night of the 26th of March."""

    def make(moments: Moments) -> Program:
        night = datetime(2000, 3, 24, 12, tzinfo=UTC).timestamp()
        nightly = recurring.cron("30 2 * * *", partial(notes, moments), timezone="Europe/Berlin")
        return io.sleep_until(night).then(nightly)

    result: Any = simulate(scheduled(make, 87.5 * 24 * HOUR)).result
    assert [f"{moment:%d %H:%M %Z}" for moment in result.unsafe_get()] == [
        *("25 02:30 CET", "26 03:00 CEST", "27 02:30 CEST", "28 02:30 CEST")
    ]


# -- runs that take long ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("once", [1, 3, 6, 8, 11]), ("all", [1, 2, 3, 4, 5]), ("skip", [1, 4, 7, 10])],
)
def test_runs_that_take_longer_than_the_time_between_them_never_overlap(
    catch_up: CatchUp, expected: list[int]
) -> None:
    work = partial(notes_and_works, 2.5 * HOUR)
    simulation = simulate(scheduled(hourly(work, catch_up=catch_up), 12.9 * HOUR))
    assert simulation.result == Ok(hours(*expected))


@pytest.mark.slow
def test_programs_that_start_fibers_of_their_own_overlap() -> None:
    def work(moments: Moments, moment: datetime) -> Program:
        return io.parallel(notes_and_works(2.5 * HOUR, moments, moment))

    simulation = simulate(scheduled(hourly(work), 12.5 * HOUR))
    assert simulation.result == Ok(hours(*range(1, 13)))


# -- outages ----------------------------------------------------------------------------------

BEGIN: Final = 3.5 * PERIOD
WITHOUT_WORKERS: Final[Sequence[Fault]] = [
    Crash("worker-1", at=BEGIN, returns_after=4 * PERIOD),
    Crash("worker-2", at=BEGIN, returns_after=4 * PERIOD),
]
OUTAGES: Final[dict[str, Sequence[Fault]]] = {
    "of the workers": WITHOUT_WORKERS,
    "of the coordinator": [Restart(at=BEGIN, seconds=4 * PERIOD)],
    "of both": [
        *WITHOUT_WORKERS,
        Restart(at=BEGIN, seconds=3 * PERIOD),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("faults", OUTAGES.values(), ids=OUTAGES)
@pytest.mark.parametrize(
    ("options", "missed"),
    [
        ({"catch_up": "once"}, [7]),
        ({"catch_up": "all"}, [4, 5, 6, 7]),
        ({"catch_up": "skip"}, []),
        ({"catch_up": "once", "max_late_seconds": 0.1 * PERIOD}, []),
        ({"catch_up": "all", "max_late_seconds": 2 * PERIOD}, [6, 7]),
    ],
    ids=str,
)
def test_moments_that_were_missed_in_an_outage_are_made_up_for_as_the_policy_says(
    options: dict[str, Any], missed: list[int], faults: Sequence[Fault]
) -> None:
    for seed in range(3):
        program = scheduled(periodic(**options), 10.5 * PERIOD)
        simulation = simulate_durable(program, seed=seed, faults=faults)
        assert simulation.result == Ok(nth(1, 2, 3, *missed, 8, 9, 10)), f"seed {seed}"


@pytest.mark.slow
def test_worker_that_is_lost_while_a_run_goes_on_repeats_no_moment() -> None:
    work = partial(notes_and_works, 60.0)
    for seed in range(5):
        faults = [Crash(at=n * PERIOD + 30.0, returns_after=1.0) for n in (2, 4, 6)]
        program = scheduled(periodic(work), 8.5 * PERIOD)
        simulation = simulate_durable(program, seed=seed, faults=faults)
        assert simulation.result == Ok(nth(*range(1, 9))), f"seed {seed}"


def at_moments(kind: type[Crash | Restart | Disconnect], **options: Any) -> list[Fault]:
    """Faults at moments, or some milliseconds later."""
    return [kind(at=n * PERIOD + n / 1500, **options) for n in range(1, 7)]


FAULTS: Final[dict[str, Sequence[Fault]]] = {
    "workers": at_moments(Crash, returns_after=0.05),
    "the coordinator": at_moments(Restart),
    "both": [*at_moments(Restart), *at_moments(Crash, returns_after=0.1)],
    "links": at_moments(Disconnect),
    "anybody": [Restart(), Leave(returns_after=0.01), Crash(returns_after=0.01)],
}


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("catch_up", ["all", "once", "skip"])
def test_moment_at_which_somebody_dies_begins_once(
    catch_up: CatchUp, faults: Sequence[Fault]
) -> None:
    for seed in range(4):
        program = scheduled(periodic(catch_up=catch_up), 6.5 * PERIOD)
        simulation = simulate_durable(program, seed=seed, faults=faults)
        assert simulation.result == Ok(nth(*range(1, 7))), f"seed {seed}"


def add_line(file: Path, moment: datetime) -> None:
    with file.open("a") as lines:
        lines.write(f"{moment}\n")


@pytest.mark.slow
def test_run_that_was_begun_is_ended_though_the_next_moment_has_come(tmp_path: Path) -> None:
    """With "once", a schedule that decided anew would leave the run for the later moment."""

    def work(file: Path, moments: Moments, moment: datetime) -> Program:
        return io.defer(add_line, file, moment).then(notes(moments, moment))

    began = 0
    for seed in range(30):
        moment = 2 * PERIOD + seed / 10_000
        faults = [Crash(f"worker-{n}", at=moment, returns_after=1.5 * PERIOD - n) for n in (1, 2)]
        file = tmp_path / f"{seed}"
        program = scheduled(periodic(partial(work, file)), 4.5 * PERIOD)
        result: Any = simulate_durable(program, seed=seed, faults=faults).result
        ended = [str(each) for each in result.unsafe_get()]
        begun = file.read_text().splitlines()
        assert {*begun} == {*ended}, f"seed {seed}"
        began += len(begun) > len(ended)
    assert began > 0  # some had begun when their workers were lost


# -- failures and the end ---------------------------------------------------------------------


@pytest.mark.slow
def test_run_that_ends_each_worker_is_lost_and_the_schedule_goes_on() -> None:
    def work(moments: Moments, moment: datetime) -> Program:
        is_poison = moment == nth(2)[0]
        return io.yield_.named("poison") if is_poison else notes(moments, moment)

    def tell(moments: Moments, moment: datetime, result: Any) -> Program:
        is_lost = isinstance(result.exceptions[0].exception, WorkerLost)
        return notes(moments, moment + timedelta(seconds=is_lost))

    def make(moments: Moments) -> Program:
        return periodic(work, on_failure=partial(tell, moments))(moments)  # type: ignore[no-any-return]  # mypy: of Any

    for seed in range(5):
        poison = Crash(fiber="poison", returns_after=0.01)
        program = scheduled(make, 4.5 * PERIOD)
        result: Any = simulate_durable(program, seed=seed, faults=[poison]).result
        [first, told, *others] = result.unsafe_get()
        assert [first, *others] == nth(1, 3, 4), f"seed {seed}"
        assert told == nth(2)[0] + timedelta(seconds=1), f"seed {seed}"


def test_schedule_that_is_cancelled_waits_for_its_run_to_release() -> None:
    work = io.sleep(HOUR).finally_(lambda _: io.sleep(5.0))
    simulation = simulate_durable(recurring.every(2 * HOUR, work), faults=[Interrupt(at=600.0)])
    assert isinstance(simulation.result, Panic)
    assert isinstance(simulation.result.exceptions[0].exception, Cancelled)
    assert 605.0 <= simulation.virtual_seconds < 606.0


def test_schedule_whose_run_keeps_births_alone_says_why_it_is_lost_with_its_worker() -> None:
    faults = [Crash("worker-1", at=2.5 * HOUR, returns_after=1.0)]
    schedule = recurring.every(HOUR, io.pure(None))
    simulation = simulate_durable(schedule, members=1, faults=faults, snapshots="births")
    assert isinstance(simulation.result, Panic)
    [lost] = [each.exception for each in simulation.result.exceptions]
    assert isinstance(lost, WorkerLost)
    assert "the fiber has passed a checkpoint, so it can't begin again" in str(lost)
