"""Generated programs in direct style: the same outcomes, wherever their functions move."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from distio.testing import MOVE_ON_WAKE, simulate
from tests.harness.generated import CONTEXT, SEEDS, SHAPES
from tests.harness.programs import DIRECT, Program, Scope, comparable, expected, programs, to_io


@pytest.mark.slow
@pytest.mark.parametrize("style", [Scope(), DIRECT], ids=["methods", "direct"])
def test_programs_of_both_styles_have_the_same_outcome_wherever_they_move(
    examples: int, style: Scope
) -> None:
    @settings(max_examples=examples)
    @given(programs(), SEEDS, SHAPES)
    def check(program: Program, seed: int, shape: tuple[int, int]) -> None:
        simulation = simulate(
            to_io(program, style),
            CONTEXT,
            members=shape[0],
            threads=shape[1],
            seed=seed,
            components=MOVE_ON_WAKE,
        )
        assert comparable(simulation.result) == comparable(expected(program, CONTEXT))
        assert simulation.stayed == ()

    check()
