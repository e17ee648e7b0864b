"""Programs that run once, however many fibers run them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from distio import IO, CountDownLatch, Deferred, Errors, MatchError, Ok, Panic, Result, Var, io
from distio.errors import Deadlock
from distio.testing import Crash, explore, simulate
from tests.conftest import Run

Program = IO[Any, Any, Any]
Log = Var[list[str]]

NAP: Final = io.sleep(0.01)
FOR_EVER: Final = io.sleep(10_000)


def note(log: Log, word: str) -> Program:
    return log.update(lambda words: ([*words, word], None))


def with_log(main: Callable[[Log], Program]) -> Program:
    """Run `main(log)`; compute its value and the words of the log."""
    return Var.create(list[str]()).flat_map(lambda log: main(log).zip(log.get()))


def deadlock_in(result: Result[Any, Any]) -> str:
    assert isinstance(result, Panic), result
    found = result.exceptions[0].exception
    assert isinstance(found, Deadlock)
    return str(found)


def diamond(log: Log) -> Program:
    """Two fibers use one program, and a third one both of them."""
    load = note(log, "load").then(NAP, io.pure([3, 1, 2]))

    def both(loaded: Program) -> Program:
        ends = io.zip_par(loaded.map(min), NAP.then(loaded).map(max))
        return io.zip_par(ends, loaded.map(len)).then(ends)

    return io.memoize(load).flat_map(both)


def test_memoized_program_runs_once_for_all_fibers_that_use_it(run: Run) -> None:
    assert run(with_log(diamond)) == Ok(((1, 3), ["load"]))


def test_memoized_program_is_awaited_in_direct_style(run: Run) -> None:
    @io.do
    async def uses(loaded: IO[Any, Any, int]) -> int:
        return await loaded + await loaded

    @io.do
    async def main(log: Log) -> Any:
        loaded = await note(log, "load").then(io.pure(1)).memoize()
        return await io.zip_par([uses(loaded) for _ in range(3)])

    assert run(with_log(main)) == Ok(([2, 2, 2], ["load"]))


@pytest.mark.slow
@pytest.mark.parametrize("keep_failures", [True, False])
def test_failure_of_a_memoized_program_reaches_all_that_wait(run: Run, keep_failures: bool) -> None:
    def main(log: Log) -> Program:
        def fails(latch: CountDownLatch) -> Program:
            def use(loaded: Program) -> Program:
                uses = latch.count_down().then(loaded.attempt())
                return io.zip_par([uses] * 3)

            load = note(log, "load").then(latch.wait(), NAP, io.error("broken"))
            made = io.memoize(load, keep_failures=keep_failures)
            return made.flat_map(lambda loaded: use(loaded).zip(loaded.attempt()))

        return CountDownLatch.create(3).flat_map(fails)

    failed: Result[str, Any] = Errors(["broken"])
    results, calls = run(with_log(main)).unsafe_get()
    assert results == ([failed] * 3, failed)
    # whether all of the three have joined in time is left to chance
    assert (len(calls) == 1) is keep_failures


def test_memoized_program_that_panics_is_a_panic_for_each_that_uses_it(run: Run) -> None:
    made = io.memoize(io.defer(lambda: 1 // 0))
    results = run(made.flat_map(lambda loaded: io.zip(loaded.attempt(), loaded.attempt())))
    kinds = [type(result.exceptions[0].exception) for result in results.unsafe_get()]
    assert kinds == [ZeroDivisionError] * 2


def test_cancelled_fiber_leaves_a_memoized_program_to_the_others(run: Run) -> None:
    def main(log: Log) -> Program:
        def use(begun: Deferred[None], go_on: Deferred[str], loaded: Program) -> Program:
            gives_up = begun.get().then(loaded.timeout(0.01, io.pure("gave up")))
            return io.zip_par(gives_up.then_keep(go_on.set("here")), loaded)

        def made(begun: Deferred[None], go_on: Deferred[str]) -> Program:
            load = note(log, "load").then(begun.set(None), go_on.get())
            return io.memoize(load).flat_map(partial(use, begun, go_on))

        deferreds = io.zip(Deferred.create(), Deferred.create())
        return deferreds.flat_map(lambda both: made(*both))

    assert run(with_log(main)) == Ok((("gave up", "here"), ["load"]))


def test_cancelled_fiber_that_began_a_memoized_program_leaves_it_to_the_others() -> None:
    def main(log: Log) -> Program:
        def use(loaded: Program) -> Program:
            gives_up = loaded.timeout(30.0, io.pure("gave up"))
            return io.zip_par(gives_up, io.sleep(10.0).then(loaded))

        load = note(log, "load").then(io.sleep(60.0), io.pure("here"))
        return io.memoize(load).flat_map(use)

    # no real clock: on a busy machine, the second fiber could come after the first has left
    simulation = simulate(with_log(main), members=2)
    assert simulation.result == Ok((("gave up", "here"), ["load"]))


@pytest.mark.slow
def test_memoized_program_for_which_nobody_waits_is_cancelled_and_begins_anew(run: Run) -> None:
    def main(log: Log) -> Program:
        def load(started: Deferred[str]) -> Program:
            def work(_: Any) -> Program:
                return started.set("gave up").flat_map(lambda first: FOR_EVER if first else NAP)

            def close(_: Any, result: Result[Any, Any]) -> Program:
                return NAP.then(note(log, "closed"), io.from_result(result))

            return io.bracket(note(log, "opened"), work, close)

        def uses(started: Deferred[str]) -> Program:
            made = io.memoize(load(started))
            return made.flat_map(lambda loaded: io.race(loaded, started.get()).zip(loaded))

        return Deferred.create().flat_map(uses)

    assert run(with_log(main)) == Ok((("gave up", None), ["opened", "closed"] * 2))


def knotted(use: Callable[[Program], Program]) -> Program:
    """A memoized program that uses itself."""

    def main(knot: Deferred[Program]) -> Program:
        made = io.memoize(knot.get().flat_map(use).named("knot"))
        return made.flat_map(lambda loaded: knot.set(loaded).then(loaded))

    return Deferred.create().flat_map(main)


def test_memoized_program_that_waits_for_itself_is_a_deadlock_at_once(run: Run) -> None:
    # others go on meanwhile, so nobody else would see it
    result = run(io.race(knotted(lambda loaded: loaded), FOR_EVER))
    assert "(knot) runs a memoized program, and waits there for the value" in deadlock_in(result)


def test_memoized_program_that_waits_for_itself_through_others_is_a_deadlock(run: Run) -> None:
    found = deadlock_in(run(knotted(lambda loaded: io.zip_par(loaded, loaded))))
    assert "nothing can ever wake this run" in found


def test_memoized_program_of_another_run_is_a_panic(run_in_process: Run) -> None:
    loaded = run_in_process(io.memoize(io.pure(1))).unsafe_get()
    result = run_in_process(loaded)
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, MatchError)


def test_memoize_without_a_program_says_what_it_got() -> None:
    with pytest.raises(MatchError, match="memoize: expected an IO, but got 5"):
        io.memoize(5)  # type: ignore[arg-type]  # the mistake


def draws(loaded: Program) -> Program:
    """Numbers of fibers one of which starts the memoized program, nobody knows which."""
    return io.zip_par([loaded.zip(io.random_seed, io.zip_par(io.random_seed)) for _ in range(3)])


@pytest.mark.slow
def test_seed_decides_all_numbers_whoever_starts_a_memoized_program() -> None:
    main = io.memoize(io.random_seed).flat_map(draws).seeded(5)
    results = [simulate(main, seed=seed).result for seed in range(4)]
    assert results == [main.run(None, 4)] * 4


@pytest.mark.slow
def test_memoized_program_runs_once_though_workers_are_lost() -> None:
    faults = [Crash(returns_after=0.1), Crash(returns_after=0.1)]
    explore(
        with_log(diamond),
        check=lambda simulation: simulation.result == Ok(((1, 3), ["load"])),
        seeds=range(20),
        threads=1,
        faults=faults,
    )


def test_memoized_program_goes_on_when_the_worker_that_computes_it_is_lost() -> None:
    def main(log: Log) -> Program:
        load = note(log, "load").then(io.sleep(60), note(log, "loaded"), io.pure(7))
        made = io.memoize(load.named("load"))
        return made.flat_map(lambda loaded: io.zip_par(loaded, loaded))

    faults = [Crash("worker-1", at=20, returns_after=1), Crash("worker-2", at=40, returns_after=1)]
    simulation = simulate(with_log(main), members=2, faults=faults)
    assert simulation.result == Ok(((7, 7), ["load", "loaded"]))
