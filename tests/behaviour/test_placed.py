"""Programs that say what they need, in every place, and in a process that has something."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Errors, MatchError, Ok, io
from distio.errors import Deadlock, TimedOut
from tests.conftest import Run

Program = IO[Any, Any, Any]


def test_placed_program_has_its_own_outcome(run: Run) -> None:
    assert run(io.placed(io.read, needs={}), 5) == Ok(5)
    assert run(io.placed(io.error("lost")), None) == Errors(["lost"])


def together(count: int, needs: float, has: float) -> int:
    """How many of some programs, each of which needs so much, are under way together at most."""
    now: list[int] = []
    most: list[int] = [0]

    def enter(n: int) -> None:
        now.append(n)
        most[0] = max(most[0], len(now))

    def job(n: int) -> Program:
        work = io.defer(enter, n).then(io.yield_, io.yield_, io.defer(now.remove, n), io.pure(n))
        return io.placed(work, needs={"gpu": needs})

    result = io.traverse_par(range(count), job).run(None, has={"gpu": has})
    assert result == Ok([*range(count)])
    return most[0]


@pytest.mark.parametrize(("needs", "has", "most"), [(1, 2, 2), (0.1, 0.3, 3), (2, 3, 1)])
def test_process_gives_no_more_than_it_has(needs: float, has: float, most: int) -> None:
    assert together(9, needs, has) == most


def test_fiber_that_waits_for_a_place_can_be_cancelled_and_others_go_on() -> None:
    waits = io.timeout(io.placed(io.pure(1), needs={"gpu": 2}), 0.01)
    holds = io.placed(waits.catch(lambda _: io.pure(2)), needs={"gpu": 1})
    again = io.placed(io.pure(3), needs={"gpu": 2})
    assert io.zip(holds, again).run(None, has={"gpu": 2}) == Ok((2, 3))
    assert waits.run(None, has={"gpu": 1}) == Errors([TimedOut(0.01)])


def test_run_that_waits_for_what_there_is_not_is_a_deadlock_that_says_so() -> None:
    result: Any = io.placed(io.pure(1), needs={"gpu": 1, "zone": "b"}).run(None, has={"zone": "a"})
    failure = result.exceptions[0].exception
    assert isinstance(failure, Deadlock)
    assert "waits until this process has zone=b and gpu=1" in str(failure)


@pytest.mark.parametrize("needs", [{"gpu": "a b"}, {"": 1}, {"gpu": -1}, {"gpu": True}, {1: 1}, 5])
def test_needs_that_are_none_are_refused(needs: Any) -> None:
    with pytest.raises(MatchError, match=r"^placed: expected "):
        io.placed(io.pure(1), needs=needs)
