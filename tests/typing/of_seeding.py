"""The types that checkers infer of random numbers that a seed decides: nothing here runs."""

from __future__ import annotations

from random import Random
from typing import Any, Never, assert_type

from distio import IO, io


def seeding(five: IO[int, str, int]) -> None:
    assert_type(io.seeded(42, five), IO[int, str, int])
    assert_type(five.seeded(42), IO[int, str, int])
    assert_type(io.random_seed, IO[Any, Never, int])
    assert_type(io.random_generator, IO[Any, Never, Random])
