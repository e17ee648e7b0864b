"""A program has the outcome that it must have, whichever process dies, alone or with all others.

`pytest --seeds N` tries N programs, each under a seed of its own. `make campaign` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, Barrier, Errors, Ok, Panic, Result, io
from distio.testing import (
    Crash,
    Disconnect,
    Fault,
    FullDisk,
    Partition,
    Restart,
    SlowDisk,
    simulate,
)
from distio.testing.durable import simulate_durable
from tests.harness.generated import CONTEXT, SEEDS
from tests.harness.programs import Program, comparable, expected, programs, to_io

WORKERS: Final = 3
_ALL: Final = [f"worker-{n + 1}" for n in range(WORKERS)]
_MOMENTS: Final = st.integers(1, 300)
"""Numbers of events: most generated programs have ended by then."""
_SHORT: Final = st.sampled_from([0.0, 0.001, 1.0, 3.0])
"""How long the coordinator is gone: a process that is started meanwhile waits for it. Gone twice,
and with a disk that is full twice, it is back before the client gives up."""
_LONG: Final = st.sampled_from([0.01, 1.0, 6.0, 20.0])
"""How long a worker is gone: in the end, for longer than a member may be absent."""


@st.composite
def _at_once(draw: st.DrawFn) -> Sequence[Fault]:
    """All workers die in one moment, and with them the coordinator."""
    event = draw(_MOMENTS)
    dead: list[Fault] = [Crash(name, event=event, returns_after=draw(_LONG)) for name in _ALL]
    restart = Restart(event=event, seconds=draw(_SHORT))
    dead.insert(draw(st.sampled_from([0, len(dead)])), restart)
    return dead


@st.composite
def _one_by_one(draw: st.DrawFn) -> Sequence[Fault]:
    """The coordinator and workers die, each at a moment of its own."""
    names = draw(st.lists(st.sampled_from(_ALL), max_size=2, unique=True))
    dead: list[Fault] = [
        Crash(name, event=draw(_MOMENTS), returns_after=draw(_LONG)) for name in names
    ]
    return [*dead, *[Restart(event=draw(_MOMENTS), seconds=draw(_SHORT)) for _ in range(2)]]


_BESIDES: Final = st.lists(
    st.one_of(
        st.builds(Partition, st.sampled_from([None, "client"]), seconds=st.just(1.0)),
        st.builds(Disconnect, st.sampled_from([None, "client"]), seconds=st.just(1.0)),
        st.builds(FullDisk, event=_MOMENTS),
        st.builds(SlowDisk, event=_MOMENTS, commit_seconds=st.just(0.1)),
    ),
    max_size=2,
)
"""Faults that don't end any process."""
_DEATHS: Final = st.one_of(_at_once(), _one_by_one())


@pytest.mark.slow
@pytest.mark.seeds(60)
def test_generated_program_has_its_outcome_though_coordinator_and_workers_die(
    examples: int,
) -> None:
    @settings(max_examples=examples)
    @given(programs(), SEEDS, _DEATHS, _BESIDES)
    def check(
        program: Program, seed: int, deaths: Sequence[Fault], besides: Sequence[Fault]
    ) -> None:
        faults = [*deaths, *besides]
        found = simulate(to_io(program), CONTEXT, members=WORKERS, seed=seed, faults=faults)
        assert comparable(found.result) == comparable(expected(program, CONTEXT))

    check()


@pytest.mark.slow
@pytest.mark.seeds(60)
def test_generated_named_program_has_its_outcome_though_everybody_dies(examples: int) -> None:
    @settings(max_examples=examples)
    @given(programs(), SEEDS, _DEATHS, _BESIDES, _MOMENTS)
    def check(
        program: Program,
        seed: int,
        deaths: Sequence[Fault],
        besides: Sequence[Fault],
        event: int,
    ) -> None:
        clients = [Crash("client", event=event), Crash("client-2", event=event)]
        faults = [*deaths, *besides, *clients]
        found: Any = simulate_durable(
            to_io(program), CONTEXT, members=WORKERS, seed=seed, faults=faults
        )
        assert comparable(found.result) == comparable(expected(program, CONTEXT))

    check()


_GOES_BACK: Final = st.builds(
    Restart, event=st.integers(20, 200), seconds=_SHORT, lost_turns=st.integers(0, 8)
)
"""Members that know more than the journal are put out, and begin anew."""


@pytest.mark.slow
@pytest.mark.seeds(40)
def test_generated_named_program_has_its_outcome_though_its_journal_goes_back(
    examples: int,
) -> None:
    @settings(max_examples=examples)
    @given(programs(), SEEDS, st.lists(_GOES_BACK, min_size=1, max_size=2))
    def check(program: Program, seed: int, faults: Sequence[Fault]) -> None:
        found: Any = simulate_durable(
            to_io(program), CONTEXT, members=WORKERS, seed=seed, faults=faults
        )
        right = comparable(expected(program, CONTEXT))
        assert [comparable(each) for each in found.results] == [right] * len(found.results)

    check()


# -- what these have found ---------------------------------------------------------------------


@pytest.mark.slow
def test_failure_without_errors_is_not_hidden_by_the_cancellation_that_it_causes() -> None:
    """The child is saved when it has told its parent, and before it has ended."""

    def meet(met: Barrier) -> IO[Any, Any, Any]:
        return io.zip_par(met.wait().then(io.errors()), met.wait())

    program = Barrier.create(2).flat_map(meet)
    for seed in range(3, 6):
        for event in range(56, 80, 2):
            faults = [Crash(name, event=event, returns_after=1.0) for name in _ALL]
            found = simulate_durable(program, members=WORKERS, seed=seed, faults=faults)
            assert found.result == Errors([]), (seed, event)


@pytest.mark.slow
def test_client_that_the_journal_no_longer_knows_is_followed_by_one_that_hears_the_end() -> None:
    for event in range(15, 60, 5):
        first = Restart(event=event, seconds=0.0, lost_turns=0)
        faults = [first, Restart(event=event + 50, seconds=0.0, lost_turns=1)]
        assert simulate_durable(io.pure(0), members=WORKERS, faults=faults).result == Ok(0)


@pytest.mark.slow
def test_journal_that_goes_back_to_before_a_run_that_all_know_the_end_of_harms_nobody() -> None:
    first = Restart(event=37, seconds=0.0, lost_turns=4)
    for event in range(90, 100):
        faults = [first, Restart(event=event, seconds=0.0, lost_turns=6)]
        found = simulate_durable(io.pure(0), members=WORKERS, faults=faults)
        assert found.results == [Ok(0)] * len(found.results)


@pytest.mark.slow
def test_failure_without_errors_in_a_scope_is_not_hidden_by_the_cancellation_that_it_causes() -> (
    None
):
    def meet(met: Barrier) -> IO[Any, Any, Any]:
        def children(scope: io.Scope) -> IO[Any, Any, Any]:
            fails: IO[Any, Any, Any] = scope.start(met.wait().then(io.errors()))
            return fails.then(scope.start(met.wait())).then(io.sleep(1))

        return io.scope(children)

    program = Barrier.create(2).flat_map(meet)
    for seed in (2166, 2428):
        for event in range(64, 78):
            faults = [Crash(name, event=event, returns_after=1.0) for name in _ALL]
            found = simulate_durable(program, members=WORKERS, seed=seed, faults=faults)
            assert found.result == Errors([]), (seed, event)


@pytest.mark.slow
def test_run_that_ends_again_when_its_journal_went_back_may_say_where_it_failed_now() -> None:
    """Clients that heard of it before and after hear of other fibers on other workers."""
    program = io.traverse_par([0], lambda _: io.defer(_fail)).attempt()
    again = 0
    for event in range(45, 55):
        faults = [Restart(event=event, lost_turns=8)]
        found = simulate_durable(program, members=WORKERS, seed=event, faults=faults)
        right = comparable(found.result)
        assert [comparable(each) for each in found.results] == [right] * len(found.results)
        again += len({_trace(each) for each in found.results}) - 1
    assert again > 2


def _trace(result: Result[Any, Any]) -> str:
    assert isinstance(result, Ok)
    assert isinstance(result.success, Panic)
    return result.success.exceptions[0].stack_trace


def _fail() -> None:
    raise ValueError("x")
