"""Small programs under the loss of each worker at each event: what they may become of.

`make campaign N=100000` simulates so many schedules of each, with up to two deviations.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

import pytest

from distio import Ok, Panic
from distio.testing import Crash, explore_all, simulate
from tests.harness.recovering import CASES, is_lost, judge, possible

CAMPAIGN: Final = int(os.environ.get("CAMPAIGN", "0"))
"""How many schedules of each program to simulate; 0: only as many as take a moment."""

IS_RECOVERING: Final = True
"""Whether a lost worker loses no fiber: then no program may end because of that."""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_program_is_right_whichever_worker_is_lost_at_whichever_event(
    name: str, threads: int
) -> None:
    covered = explore_all(
        CASES[name].main,
        None,
        judge(name, may_lose=not IS_RECOVERING),
        deviations=2 if CAMPAIGN else 0,
        crash_each_event=True,
        at_most=CAMPAIGN or 40,
        threads=threads,
    )
    print(f"{name}, {threads} threads: {covered}")


def test_judge_refuses_a_result_that_the_program_cannot_have_without_faults() -> None:
    right = simulate(CASES["tree"].main, members=2, threads=1)
    judge("tree", may_lose=False)(right)
    with pytest.raises(AssertionError, match="a subtree is counted twice, or never: Ok"):
        judge("tree", may_lose=True)(replace(right, result=Ok(5)))


def test_judge_allows_a_loss_only_where_fibers_may_be_lost() -> None:
    lost = simulate(CASES["tree"].main, members=1, threads=1, faults=[Crash(event=20)])
    assert is_lost(lost.result)
    judge("tree", may_lose=True)(lost)
    with pytest.raises(AssertionError, match=r"WorkerLost|ClusterClosed"):
        judge("tree", may_lose=False)(lost)


def test_programs_have_one_result_each_without_faults() -> None:
    assert possible("tree") == {repr(Ok(4))}
    assert possible("after a time limit") == {repr(Ok(("late",)))}


def test_result_that_tells_of_a_loss_is_told_from_others() -> None:
    assert not is_lost(Ok(4))
    assert not is_lost(Panic([], ["no"]))
