"""Random numbers, each fiber its own, and the seed that decides them."""

from __future__ import annotations

from random import Random
from typing import Any, Final, TypeVar

from distio.core import expect, ops
from distio.core.ops.base import IO, require_io

__all__ = ["random", "random_generator", "random_seed", "seeded"]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")

random: Final[IO[Any, Any, float]] = ops.Random()
"""The program that draws a random number, from 0 up to, but not, 1; each time another one.

It is not for secrets. In a simulation the seed says which numbers come.

>>> random.map(lambda drawn: 0 <= drawn < 1).run(None)
Ok(success=True)
"""


def seeded(seed: int, io: IO[R, E, A]) -> IO[R, E, A]:
    """Run `io` so that `seed` decides its random numbers: those of `random_seed` and
    `random_generator`, in this fiber and in all that it starts in there.

    Each fiber has numbers of its own. They depend on the seed, and on the fiber's place in the
    program: which of the fibers it is that its parent has started. So a program that does the same
    again draws the same numbers, on threads and on a cluster of any size. What is seeded in there
    once more has the numbers of that seed.

    Args:
        seed: any whole number.
        io: what runs.

    Raises:
        MatchError: `seed` is something else.

    >>> from distio import io
    >>> throws = io.zip_par([io.random_generator.map(lambda dice: dice.randint(1, 6))] * 5)
    >>> io.seeded(7, throws).run(None)
    Ok(success=[1, 1, 2, 2, 4])
    """
    program = require_io(io, "seeded")
    return ops.Seeded(program, expect.integer(seed, "seeded", "the seed is a whole number"))


random_seed: Final[IO[Any, Any, int]] = ops.RandomSeed()
"""The program that computes a seed, from 0 up to, but not, 2 to the power of 128; each time another
one, in each fiber others.

It is for generators of any library. In `seeded` they are the same in each run; without it chance
decides (in a simulation its seed does). They are not for secrets.

>>> from distio import io
>>> io.zip_par(io.random_seed, io.random_seed).map(lambda seeds: len({*seeds})).run(None)
Ok(success=2)
"""

random_generator: Final[IO[Any, Any, Random]] = random_seed.map(Random)
"""The program that computes a generator of Python's `random`, seeded by `random_seed`.

Each time it is another generator. It belongs to the fiber that runs this: one that several fibers
have captured is copied for each of them, and the copies draw the same numbers.

>>> from distio import io
>>> io.random_generator.map(lambda dice: 1 <= dice.randint(1, 6) <= 6).run(None)
Ok(success=True)
"""
