"""Random numbers, each fiber its own, and the seed that decides them."""

from __future__ import annotations

from random import Random
from typing import Any, Final, Never, TypeVar

from distio.core import expect, ops
from distio.core.ops.base import IO, require_io

__all__ = ["random", "random_generator", "random_seed", "seeded"]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")

random: Final[IO[Any, Never, float]] = ops.Random()
"""The program that draws a random number from 0 up to, but not including, 1.

The numbers are not for secrets. In a simulation its seed decides them.

>>> from distio import io
>>> io.random.map(lambda drawn: 0 <= drawn < 1).run(None)
Ok(success=True)
"""


def seeded(seed: int, io: IO[R, E, A]) -> IO[R, E, A]:
    """Run `io` so that `seed` decides its random numbers.

    These are the numbers of `random_seed` and `random_generator`, in this fiber and in all fibers
    that `io` starts. Each fiber draws numbers of its own. They depend on the seed and on the place
    of the fiber among those that its parent has started. So a program that takes the same steps
    again draws the same numbers, on threads and on a cluster of any size. A part of `io` that is
    seeded itself draws the numbers of its own seed.

    Args:
        seed: any whole number.
        io: the program that draws the numbers.

    Returns:
        A program with the outcome of `io`.

    Raises:
        MatchError: `seed` is no int, or `io` is no IO.

    >>> from distio import io
    >>> throws = io.zip_par([io.random_generator.map(lambda dice: dice.randint(1, 6))] * 5)
    >>> io.seeded(7, throws).run(None)
    Ok(success=[1, 1, 2, 2, 4])
    """
    program = require_io(io, "seeded")
    return ops.Seeded(program, expect.integer(seed, "seeded", "the seed is a whole number"))


random_seed: Final[IO[Any, Never, int]] = ops.RandomSeed()
"""The program that computes a seed for a generator of any library.

A seed is an int from 0 up to, but not including, 2 to the power of 128. Each time the seed is
another one, and each fiber gets others. In `seeded` the seeds are the same in each run; elsewhere
chance decides them, or in a simulation its seed. They are not for secrets.

>>> from distio import io
>>> io.zip_par(io.random_seed, io.random_seed).map(lambda seeds: len({*seeds})).run(None)
Ok(success=2)
"""

random_generator: Final[IO[Any, Never, Random]] = random_seed.map(Random)
"""The program that computes a generator of Python's `random`, seeded by `random_seed`.

Each time the program computes another generator, which belongs to the fiber that runs this. A
generator that several fibers have captured is copied for each of them, and the copies draw the same
numbers.

>>> from distio import io
>>> io.random_generator.map(lambda dice: 1 <= dice.randint(1, 6) <= 6).run(None)
Ok(success=True)
"""
