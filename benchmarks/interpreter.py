"""How long does a program of pure steps take, compared with raffiot? Goal: half as long.

In direct style, where a function awaits itself, a quarter as long.
"""

from __future__ import annotations

from typing import Any

import raffiot.io as raffiot

from benchmarks._timing import medians, seconds, show, take_turns
from distio import io

N = 22
ROUNDS = 5


def fibo_distio(n: int) -> Any:
    if n < 2:
        return io.pure(n)
    return io.defer_io(fibo_distio, n - 1).flat_map(
        lambda a: io.defer_io(fibo_distio, n - 2).map(lambda b: a + b)
    )


@io.do
async def fibo_direct(n: int) -> int:
    if n < 2:
        return n
    return await fibo_direct(n - 1) + await fibo_direct(n - 2)


def fibo_raffiot(n: int) -> Any:
    if n < 2:
        return raffiot.pure(n)
    return raffiot.defer_io(fibo_raffiot, n - 1).flat_map(
        lambda a: raffiot.defer_io(fibo_raffiot, n - 2).map(lambda b: a + b)
    )


def main() -> None:
    expected = fibo_raffiot(N).run(None).success
    for program in (fibo_distio(N), fibo_direct(N)):
        assert program.run(None).unsafe_get() == expected
    found = take_turns(
        {
            "distio": lambda: seconds(lambda: fibo_distio(N).run(None)),
            "distio, io.do": lambda: seconds(lambda: fibo_direct(N).run(None)),
            "raffiot": lambda: seconds(lambda: fibo_raffiot(N).run(None)),
        },
        ROUNDS,
    )
    middle = medians(found)
    show(
        f"fibo_io({N}), median of {ROUNDS}; goals: 0.50, with io.do 0.25",
        ["", "seconds", "of raffiot"],
        [[name, f"{t:.3f}", f"{t / middle['raffiot']:.2f}"] for name, t in middle.items()],
    )


if __name__ == "__main__":
    main()
