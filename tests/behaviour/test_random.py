"""`io.random`: numbers that a program draws, and that a seed repeats."""

from __future__ import annotations

import random
from typing import Any

import pytest

from distio import IO, Ok, io
from distio.testing import CheckFailed, Simulation, explore, simulate
from tests.conftest import Run

Program = IO[Any, Any, Any]

THREE = io.zip([io.random] * 3)


def drawn(simulation: Simulation[Any, Any]) -> Any:
    assert isinstance(simulation.result, Ok)
    return simulation.result.success


def choosing(seed: int, program: Program) -> list[str]:
    """The lines of the history that show choices, without those about drawing."""
    lines = str(simulate(io.zip_par([program] * 4), seed=seed).history).splitlines()
    return [line for line in lines if "which draws" not in line and "reads the clock" not in line]


def test_random_draws_another_number_from_0_up_to_1_each_time(run: Run) -> None:
    result = run(io.zip_par([THREE] * 4))
    assert isinstance(result, Ok)
    numbers = [number for three in result.success for number in three]
    assert all(0 <= number < 1 for number in numbers)
    assert len({*numbers}) == 12


def test_random_does_not_depend_on_pythons_generator() -> None:
    seeded = io.defer(random.seed, 1).then(io.random)
    assert seeded.run(None) != seeded.run(None)


def test_random_draws_the_same_numbers_under_the_same_seed_alone() -> None:
    program = io.zip_par([THREE] * 3)
    runs = [simulate(program, seed=seed) for seed in (7, 7, 8)]
    assert str(runs[0].history) == str(runs[1].history)
    assert drawn(runs[0]) == drawn(runs[1])
    everything = [number for run in runs[1:] for three in drawn(run) for number in three]
    assert len({*everything}) == 18


def test_random_is_shown_in_the_history() -> None:
    simulation = simulate(io.random, seed=3)
    assert f"which draws {drawn(simulation):g}\n" in str(simulation.history)


@pytest.mark.parametrize("seed", range(5))
def test_random_changes_no_choice_of_the_simulation(seed: int) -> None:
    # a request that is answered at once, like the clock's
    assert choosing(seed, io.random) == choosing(seed, io.now)


def test_random_is_not_drawn_from_the_generator_of_choices() -> None:
    assert drawn(simulate(io.random, seed=5)) != random.Random(5).random()


def fails_if_high(number: float) -> Program:
    return io.error("high") if number > 0.9 else io.pure("low")


def is_low(run: Simulation[Any, Any]) -> bool:
    return run.result == Ok("low")


def test_random_makes_explore_print_the_seed() -> None:
    program = io.random.flat_map(fails_if_high)
    with pytest.raises(CheckFailed) as failure:
        explore(program, None, is_low)
    assert failure.value.seed > 0
    repeated = eval(failure.value.line, {"simulate": simulate, "main": program, "context": None})
    assert not is_low(repeated)
    assert str(repeated.history) == failure.value.history
