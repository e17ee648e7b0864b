"""Generated programs in direct style: the same outcomes, wherever their functions move."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings

from distio.coordination.member import Member
from distio.coordination.member.work import Offering
from distio.core.fiber import Fiber
from distio.testing import simulate
from distio.testing.world import Parts
from tests.programs import DIRECT, Program, Scope, comparable, expected, programs, to_io
from tests.test_generated_simulation import CONTEXT, EXAMPLES, SEEDS, SHAPES


class Restless(Member):
    """A worker that gives work away whenever a fiber wakes: most move in the middle."""

    def unpark(self, fiber: Fiber) -> None:
        super().unpark(fiber)
        if not self.ships:
            self.queue(Offering(1))


RESTLESS: Final = Parts(member=Restless)


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    """How many programs to try."""
    asked: int | None = request.config.getoption("--seeds")
    return asked or EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("style", [Scope(), DIRECT], ids=["methods", "direct"])
def test_both_styles_have_the_same_outcome_wherever_they_move(examples: int, style: Scope) -> None:
    @settings(max_examples=examples)
    @given(programs(), SEEDS, SHAPES)
    def check(program: Program, seed: int, shape: tuple[int, int]) -> None:
        simulation = simulate(
            to_io(program, style),
            CONTEXT,
            members=shape[0],
            threads=shape[1],
            seed=seed,
            parts=RESTLESS,
        )
        assert comparable(simulation.result) == comparable(expected(program, CONTEXT))
        assert simulation.stayed == ()

    check()
