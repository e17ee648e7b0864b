"""Generated programs whose fibers talk: what they are told fits one order of their calls.

The simulation itself checks that. `pytest --seeds N` tries N programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.testing import MOVE_ON_WAKE, Components, Fault, simulate
from tests.harness.generated import HARMFUL, HARMLESS, SEEDS, SHAPES
from tests.harness.talking import TALKS, Talk, to_io

PARTS: Final = st.sampled_from([Components(), MOVE_ON_WAKE])


@pytest.mark.slow
@pytest.mark.seeds(40)
@pytest.mark.parametrize(
    "faults", [st.just([]), st.lists(HARMFUL | HARMLESS, min_size=1, max_size=2)]
)
def test_fibers_that_talk_are_told_what_fits_one_order(
    faults: st.SearchStrategy[Sequence[Fault]], examples: int
) -> None:
    @settings(max_examples=examples)
    @given(TALKS, SEEDS, SHAPES, PARTS, faults)
    def check(
        talk: Talk, seed: int, shape: tuple[int, int], parts: Components, faults: Sequence[Fault]
    ) -> None:
        members, threads = shape
        simulation = simulate(
            lambda: to_io(talk),
            members=members,
            threads=threads,
            seed=seed,
            faults=faults,
            components=parts,
        )
        assert simulation.left_open == 0

    check()
