"""An invariant that a test gives to a simulation: it is looked at after each event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

import pytest

from distio import IO, MatchError, Ok, io
from distio.testing import CheckFailed, Simulation, explore, simulate

Program = IO[Any, Any, Any]


class Till:
    """Money that stays in the process where it is."""

    def __init__(self) -> None:
        self.cash, self.bank = 10, 0

    def __reduce__(self) -> NoReturn:
        raise TypeError("a till stays where it is")

    def take(self) -> None:
        self.cash -= 1

    def bring(self) -> None:
        self.bank += 1


def carry(till: Till) -> Program:
    """Take a coin, and bring it to the bank in another step."""
    return io.defer(till.take).then(io.yield_, io.defer(till.bring))


def at_most_on_the_way(coins: int) -> tuple[Callable[[], Program], Callable[[], bool]]:
    """Three coins are carried at a time; the invariant says how many may be on their way."""
    till = Till()

    def main() -> Program:
        nonlocal till
        till = Till()
        return io.zip_par([carry(till)] * 3)

    return main, lambda: till.cash + till.bank >= 10 - coins


def test_invariant_that_holds_changes_nothing() -> None:
    main, invariant = at_most_on_the_way(3)
    watched = simulate(main, seed=4, invariant=invariant)
    assert watched.result == Ok([None] * 3)
    assert str(watched.history) == str(simulate(main, seed=4).history)


def test_invariant_is_called_after_each_event() -> None:
    calls = []
    simulation = simulate(io.zip_par(io.pure(1), io.pure(2)), invariant=lambda: calls.append(1))
    assert len(calls) >= simulation.steps + simulation.messages // 2


def until_it_fails(main: Callable[[], Program], invariant: Callable[[], bool]) -> None:
    for seed in range(50):
        simulate(main, seed=seed, invariant=invariant)


@pytest.mark.slow
def test_invariant_that_says_no_ends_the_simulation_and_tells_how_to_repeat_it() -> None:
    main, invariant = at_most_on_the_way(2)
    with pytest.raises(CheckFailed, match="the invariant says no") as failed:
        until_it_fails(main, invariant)
    found = failed.value
    assert found.what.endswith(" s)")
    assert f"seed={found.seed}, invariant=invariant)" in found.line
    with pytest.raises(CheckFailed) as again:
        eval(found.line, {"simulate": simulate, "main": main, "context": None, **locals()})
    assert (again.value.what, again.value.history) == (found.what, found.history)
    assert "client: fiber 1.0 has started" in found.history
    assert "fiber 1.0 has ended" not in found.history


def test_invariant_that_raises_is_what_has_failed() -> None:
    def invariant() -> None:
        assert False, "never"  # noqa: B011, PT015 (what users write)

    with pytest.raises(CheckFailed, match="AssertionError: never") as failed:
        simulate(io.pure(1), invariant=invariant, schedule="")
    assert "after event 1, at 0.000000 s" in failed.value.what
    cause = failed.value.__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, AssertionError)


@pytest.mark.slow
def test_explore_makes_a_run_small_that_breaks_the_invariant() -> None:
    main, invariant = at_most_on_the_way(2)
    with pytest.raises(CheckFailed) as failed:
        explore(main, None, None, range(50), invariant=invariant)
    found = failed.value
    assert found.what.startswith("the invariant says no (after event ")
    assert "members=1" in found.line
    with pytest.raises(CheckFailed) as again:
        eval(found.line, {"simulate": simulate, "main": main, "context": None, **locals()})
    assert again.value.history == found.history


@pytest.mark.slow
def test_explore_passes_where_the_invariant_holds() -> None:
    main, invariant = at_most_on_the_way(3)
    assert explore(main, None, is_done, range(20), invariant=invariant).seeds == 20


def is_done(simulation: Simulation[Any, Any]) -> bool:
    return simulation.result == Ok([None] * 3)


def test_invariant_is_left_by_ctrl_c() -> None:
    def invariant() -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(io.pure(1), invariant=invariant)


NO_FUNCTION: Final[Any] = True


def test_invariant_that_is_no_function_is_refused() -> None:
    with pytest.raises(MatchError, match="invariant"):
        simulate(io.pure(1), invariant=NO_FUNCTION)
