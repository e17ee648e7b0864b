"""Generated programs on simulated clusters: with every seed they have the outcome they must have.

`pytest --seeds N` tries N programs, each under a seed of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.testing import Crash, Disconnect, Fail, Fault, Partition, Pause, simulate
from tests.harness.programs import Program, comparable, expected, programs, to_io

CONTEXT: Final = 7
EXAMPLES: Final = 300
SEEDS: Final = st.integers(0, 2**32)
SHAPES: Final = st.tuples(st.integers(1, 3), st.integers(1, 2))
"""How many workers, and how many threads each process has."""

SHORT: Final = st.sampled_from([0.001, 1.0])
HARMLESS: Final[st.SearchStrategy[Fault]] = st.one_of(
    st.builds(Pause, st.sampled_from([None, "client"]), st.none(), SHORT),
    st.builds(Partition, st.sampled_from([None, "client"]), st.none(), SHORT),
)
HARMFUL: Final[st.SearchStrategy[Fault]] = st.one_of(
    st.builds(Crash, st.sampled_from([None, "client"])),
    st.builds(Fail, st.sampled_from([None, "client"])),
    st.builds(Partition, st.sampled_from([None, "client"]), st.none(), st.just(30.0)),
    st.builds(Disconnect, st.sampled_from([None, "client"]), st.none(), st.none() | SHORT),
)


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    """How many programs to try."""
    asked: int | None = request.config.getoption("--seeds")
    return asked or EXAMPLES


@pytest.mark.slow
def test_a_program_has_its_outcome_under_every_seed(examples: int) -> None:
    @settings(max_examples=examples)
    @given(programs(), SEEDS, SHAPES)
    def check(program: Program, seed: int, shape: tuple[int, int]) -> None:
        members, threads = shape
        simulation = simulate(to_io(program), CONTEXT, members=members, threads=threads, seed=seed)
        assert comparable(simulation.result) == comparable(expected(program, CONTEXT))

    check()


@pytest.mark.slow
def test_what_is_only_late_changes_no_outcome(examples: int) -> None:
    @settings(max_examples=examples // 2)
    @given(programs(), SEEDS, st.lists(HARMLESS, min_size=1, max_size=3))
    def check(program: Program, seed: int, faults: Sequence[Fault]) -> None:
        simulation = simulate(to_io(program), CONTEXT, seed=seed, faults=faults)
        assert comparable(simulation.result) == comparable(expected(program, CONTEXT))

    check()


@pytest.mark.slow
def test_whatever_is_lost_nothing_hangs_and_nothing_is_left(examples: int) -> None:
    """The simulation itself sees to that."""

    @settings(max_examples=examples // 2)
    @given(programs(), SEEDS, SHAPES, st.lists(HARMFUL | HARMLESS, min_size=1, max_size=3))
    def check(program: Program, seed: int, shape: tuple[int, int], faults: Sequence[Fault]) -> None:
        members, threads = shape
        simulate(
            to_io(program), CONTEXT, members=members, threads=threads, seed=seed, faults=faults
        )

    check()
