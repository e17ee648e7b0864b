"""Vals: the laws that hold for them; the examples of each method are its doctests."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import Val, io
from tests.conftest import Run


def twice(n: int) -> Val[int]:
    return Val(2 * n)


def text(n: int) -> Val[str]:
    return Val(str(n))


@given(st.integers())
def test_val_obeys_the_laws_of_monads(n: int) -> None:
    assert Val.pure(n).flat_map(twice) == twice(n)
    assert Val(n).flat_map(Val.pure) == Val(n)
    assert Val(n).flat_map(twice).flat_map(text) == Val(n).flat_map(
        lambda m: twice(m).flat_map(text)
    )
    assert Val(n).map(str) == Val(n).flat_map(text)
    assert Val(Val(n)).flatten() == Val(n)


@pytest.mark.slow
@given(st.lists(st.integers(), min_size=1))
def test_zip_takes_vals_or_one_iterable_of_them(numbers: list[int]) -> None:
    vals = [Val(n) for n in numbers]
    assert Val.zip(iter(vals)) == vals[0].zip_with(vals[1:]) == Val(numbers)
    assert Val.zip(*vals) == vals[0].zip_with(*vals[1:]) == Val(tuple(numbers))
    assert Val(max).ap(Val(0), *vals) == Val(max).ap([Val(0), *vals]) == Val(max(0, *numbers))


def test_val_never_changes() -> None:
    val: Any = Val(1)
    with pytest.raises(FrozenInstanceError):
        val.value = 2


def test_val_travels(run: Run) -> None:
    assert pickle.loads(pickle.dumps(Val([1]))) == Val([1])
    program = io.zip_par([Val(n).traverse(lambda m: io.pure(m * m)) for n in range(3)])
    assert run(program.map(Val.zip)) == run(io.pure(Val([0, 1, 4])))
