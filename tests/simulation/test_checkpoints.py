"""Work that must not be done again isn't, though workers are lost: many seeds, two losses in
each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from distio import IO, Ok, Panic, Result, io
from distio.errors import InDoubt, WorkerLost
from distio.testing import MOVE_ON_WAKE, Crash, Disconnect, Fault, simulate

Program = IO[Any, Any, Any]

WRITTEN: list[Any] = []
"""The words that fibers have written outside of distio: all processes of a simulation are one."""

LOSSES: tuple[Sequence[Fault], ...] = (
    [Crash("worker-1", at=0.006), Crash()],
    [Crash(), Crash()],
    [Disconnect(returns_after=0.01), Crash()],
)


def write(item: Any) -> Any:
    WRITTEN.append(item)
    return item


def results(
    make: Callable[[], Program], seeds: int = 12, threads: int = 1, **more: Any
) -> Iterator[Result[Any, Any]]:
    """The Results of a program under losses; `WRITTEN` is that of the last one."""
    for losses in LOSSES:
        for seed in range(seeds):
            WRITTEN.clear()
            done = simulate(make, seed=seed, members=3, threads=threads, faults=losses, **more)
            assert done.result is not None
            yield done.result


def call_once(key: int) -> Program:
    return io.once(write, key)


def fibers_that(call: Callable[[Any], Program], then: Program) -> Program:
    """Six fibers on workers that make a call, and go on for a while."""

    def one(key: int) -> Program:
        called = io.yield_.then(call(key))
        return called.flat_map(lambda value: then.then(io.yield_, io.pure(value)))

    return io.zip_par([one(key).attempt() for key in range(6)])


LATER = io.sleep(0.01)


@pytest.mark.slow
def test_call_that_is_made_once_is_made_at_most_once_and_else_in_doubt() -> None:
    doubts = 0
    for result in results(lambda: fibers_that(call_once, LATER)):
        assert isinstance(result, Ok), result
        assert max(Counter(WRITTEN).values()) == 1
        for key, outcome in enumerate(result.success):
            if isinstance(outcome, Panic):
                (traced,) = outcome.exceptions
                assert isinstance(traced.exception, InDoubt)
                assert traced.exception.function == "write"
                doubts += 1
            else:
                assert outcome == Ok(key)
                assert key in WRITTEN
    assert doubts


@pytest.mark.slow
def test_doubt_is_handled_by_looking() -> None:
    """A program that looks whether it has happened writes each item exactly once."""

    def look(key: int, exceptions: Any) -> Program:
        assert isinstance(exceptions[0].exception, InDoubt)
        return io.defer(lambda: key if key in WRITTEN else write(key))

    def sure(key: int) -> Program:
        return io.once(write, key).recover(lambda exceptions, errors: look(key, exceptions))

    for result in results(lambda: fibers_that(sure, io.checkpoint)):
        assert result == Ok([Ok(key) for key in range(6)])
        assert sorted(set(WRITTEN)) == list(range(6))


@pytest.mark.slow
def test_step_is_made_again_only_before_its_snapshot_has_left() -> None:
    """A later action of the fiber is a sign that the snapshot has left."""

    def call(key: int) -> Program:
        return io.step(write, ("step", key)).then(LATER, io.defer(write, ("then", key)))

    again = 0
    for result in results(lambda: fibers_that(call, LATER)):
        assert result == Ok([Ok(("then", key)) for key in range(6)])
        for key in range(6):
            of_key = [what for what, whose in WRITTEN if whose == key]
            first = of_key.index("then")
            assert "step" not in of_key[first:]
            again += of_key.count("step") - 1
    assert again  # it may be, as its documentation says


@pytest.mark.slow
def test_value_of_a_step_is_that_of_its_last_call() -> None:
    """Each call gives another value; the one that the fiber goes on with was given last."""

    def call(key: int) -> Program:
        return io.step(lambda: write((key, len(WRITTEN))))

    for result in results(lambda: fibers_that(call, LATER)):
        assert isinstance(result, Ok)
        for key, outcome in enumerate(result.success):
            assert outcome == Ok([item for item in WRITTEN if item[0] == key][-1])


@pytest.mark.slow
def test_fiber_behind_a_checkpoint_never_goes_back() -> None:
    def call(key: int) -> Program:
        return io.defer(write, ("before", key)).then(
            io.checkpoint, io.defer(write, ("behind", key)), LATER, io.pure(key)
        )

    for result in results(lambda: fibers_that(call, LATER)):
        assert result == Ok([Ok(key) for key in range(6)])
        for key in range(6):
            of_key = [what for what, whose in WRITTEN if whose == key]
            assert "before" not in of_key[of_key.index("behind") :]


@pytest.mark.slow
@pytest.mark.parametrize("snapshots", ["off", "births"])
def test_call_is_made_at_most_once_where_less_is_kept(snapshots: str) -> None:
    for result in results(lambda: fibers_that(call_once, LATER), snapshots=snapshots):
        assert isinstance(result, Ok | Panic)
        assert max(Counter(WRITTEN).values(), default=1) == 1


@pytest.mark.slow
def test_checkpoints_and_limits_on_time_end_fibers_once() -> None:
    """A wait at a checkpoint may be cancelled at any moment, whatever is lost."""

    def call(key: int) -> Program:
        waits = io.checkpoint.then(io.once(write, key))
        return waits.timeout(0.002 * key, otherwise=io.pure("late"))

    for result in results(lambda: fibers_that(call, LATER)):
        assert isinstance(result, Ok)
        for key, outcome in enumerate(result.success):
            is_doubt = isinstance(outcome, Panic) and isinstance(
                outcome.exceptions[0].exception, InDoubt
            )
            assert is_doubt or outcome in (Ok(key), Ok("late")), outcome
        assert max(Counter(WRITTEN).values(), default=1) == 1


@pytest.mark.slow
def test_fiber_on_a_worker_with_several_threads_is_saved_alone() -> None:
    """Fibers beside it, which other threads may step, are lost with their worker, or nobody is."""

    def call(key: int) -> Program:
        beside = io.parallel(io.yield_.then(LATER))
        return beside.flat_map(lambda fibers: io.once(write, key).then_keep(io.wait(fibers)))

    saved = 0
    for result in results(lambda: fibers_that(call, io.checkpoint), threads=2):
        assert max(Counter(WRITTEN).values()) == 1
        assert isinstance(result, Ok)
        for key, outcome in enumerate(result.success):
            if outcome == Ok(key):
                saved += 1
            else:
                assert isinstance(outcome, Panic)
                kinds = {type(traced.exception) for traced in outcome.exceptions}
                assert kinds <= {InDoubt, WorkerLost}, outcome
    assert saved


@pytest.mark.slow
def test_fibers_that_move_whenever_they_wake_call_once_and_come_to_an_end() -> None:
    def call(key: int) -> Program:
        return io.checkpoint.then(io.step(write, -key), io.once(write, key))

    for result in results(lambda: fibers_that(call, LATER), components=MOVE_ON_WAKE):
        assert isinstance(result, Ok)
        assert all(WRITTEN.count(key) <= 1 for key in range(1, 6))
