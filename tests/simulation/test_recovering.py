"""Small programs under the loss of each worker at each event: what they may become of.

`make campaign N=100000` simulates so many schedules of each, with up to two deviations.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from distio import Ok, Panic
from distio.testing import explore_all
from tests.harness.recovering import CASES, is_lost, judge, possible

CAMPAIGN: Final = int(os.environ.get("CAMPAIGN", "0"))
"""How many schedules of each program to simulate; 0: only as many as take a moment."""

IS_RECOVERING: Final = False
"""Whether a lost worker loses no fiber: then no program may end because of that."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_program_is_right_whichever_worker_is_lost_at_whichever_event(name: str) -> None:
    covered = explore_all(
        CASES[name].main,
        None,
        judge(name, may_lose=not IS_RECOVERING),
        deviations=2 if CAMPAIGN else 0,
        crash_each_event=True,
        at_most=CAMPAIGN or 40,
    )
    print(f"{name}: {covered}")


def test_programs_have_one_result_each_without_faults() -> None:
    assert possible("tree") == {repr(Ok(4))}
    assert possible("after a time limit") == {repr(Ok(["late"]))}


def test_result_that_tells_of_a_loss_is_told_from_others() -> None:
    assert not is_lost(Ok(4))
    assert not is_lost(Panic([], ["no"]))
