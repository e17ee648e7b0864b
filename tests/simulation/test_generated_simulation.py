"""Generated programs on simulated clusters: with every seed they have the outcome they must have.

`pytest --seeds N` tries N programs, each under a seed of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.testing import Crash as ProcessCrash
from distio.testing import Fault, simulate
from tests.harness.generated import CONTEXT, HARMFUL, HARMLESS, SEEDS, SHAPES
from tests.harness.programs import (
    Apply,
    AtMost,
    Crash,
    Defer,
    Fibers,
    Function,
    On,
    Program,
    Pure,
    Raises,
    Read,
    Several,
    Start,
    Tally,
    Yield,
    comparable,
    expected,
    programs,
    to_io,
)


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


_CAUGHT: Final = Several(
    "zip_par",
    (
        On("catch", Crash((("ValueError", 1), ("Trouble", 8)), ([1, 8], 0)), Read()),
        Pure(2),
    ),
)

FOUND: Final[dict[str, tuple[Program, int, tuple[int, int], Sequence[Fault]]]] = {
    "a variable that a lost fiber had got from another one": (
        Start(
            (
                Start(
                    (
                        _CAUGHT,
                        Several(
                            "zip_par",
                            (
                                On(
                                    "catch",
                                    Crash(
                                        (("ValueError", 1), ("Trouble", 8)),
                                        ([1, 8], [6], (-1,)),
                                    ),
                                    Defer(Raises("ValueError", -3), -1),
                                ),
                                AtMost(
                                    "zip_par",
                                    (4, 7, (1,), [3], (0, -2), "ab"),
                                    Tally("lock", (-1, -2, 4)),
                                    1,
                                ),
                                Apply("map_error", Yield(), Function("pair", 1)),
                            ),
                        ),
                    ),
                    Fibers("join", (0, 0, 3)),
                ),
                _CAUGHT,
            ),
            Fibers("wait", "all"),
        ),
        0,
        (2, 1),
        [ProcessCrash(returns_after=0.01)],
    ),
}
"""By name: what failed once. (program, seed, shape, faults)"""


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_program_that_failed_once_has_its_outcome(name: str) -> None:
    program, seed, (members, threads), faults = FOUND[name]
    simulation = simulate(
        to_io(program), CONTEXT, members=members, threads=threads, seed=seed, faults=faults
    )
    assert comparable(simulation.result) == comparable(expected(program, CONTEXT))
