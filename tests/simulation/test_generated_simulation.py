"""Generated programs on simulated clusters: with every seed they have the outcome they must have.

`pytest --seeds N` tries N programs, each under a seed of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.testing import Fault, simulate
from tests.harness.generated import CONTEXT, HARMFUL, HARMLESS, SEEDS, SHAPES
from tests.harness.programs import Program, comparable, expected, programs, to_io


@pytest.mark.slow
def test_simulation_of_a_generated_program_has_its_outcome_under_every_seed(examples: int) -> None:
    @settings(max_examples=examples)
    @given(programs(), SEEDS, SHAPES)
    def check(program: Program, seed: int, shape: tuple[int, int]) -> None:
        members, threads = shape
        simulation = simulate(to_io(program), CONTEXT, members=members, threads=threads, seed=seed)
        assert comparable(simulation.result) == comparable(expected(program, CONTEXT))

    check()


@pytest.mark.slow
def test_simulation_with_delays_alone_changes_no_outcome(examples: int) -> None:
    @settings(max_examples=examples // 2)
    @given(programs(), SEEDS, st.lists(HARMLESS, min_size=1, max_size=3))
    def check(program: Program, seed: int, faults: Sequence[Fault]) -> None:
        simulation = simulate(to_io(program), CONTEXT, seed=seed, faults=faults)
        assert comparable(simulation.result) == comparable(expected(program, CONTEXT))

    check()


@pytest.mark.slow
def test_simulation_with_losses_always_ends_and_leaves_nothing_behind(examples: int) -> None:
    """The simulation itself checks both."""

    @settings(max_examples=examples // 2)
    @given(programs(), SEEDS, SHAPES, st.lists(HARMFUL | HARMLESS, min_size=1, max_size=3))
    def check(program: Program, seed: int, shape: tuple[int, int], faults: Sequence[Fault]) -> None:
        members, threads = shape
        simulate(
            to_io(program), CONTEXT, members=members, threads=threads, seed=seed, faults=faults
        )

    check()
