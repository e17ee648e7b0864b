"""How long does a program of pure steps take, compared with raffiot? Goal: half as long."""

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


def fibo_raffiot(n: int) -> Any:
    if n < 2:
        return raffiot.pure(n)
    return raffiot.defer_io(fibo_raffiot, n - 1).flat_map(
        lambda a: raffiot.defer_io(fibo_raffiot, n - 2).map(lambda b: a + b)
    )


def main() -> None:
    assert fibo_distio(N).run(None).success == fibo_raffiot(N).run(None).success
    found = take_turns(
        {
            "distio": lambda: seconds(lambda: fibo_distio(N).run(None)),
            "raffiot": lambda: seconds(lambda: fibo_raffiot(N).run(None)),
        },
        ROUNDS,
    )
    middle = medians(found)
    show(
        f"fibo_io({N}), median of {ROUNDS}; goal: 0.50",
        ["", "seconds", "of raffiot"],
        [[name, f"{t:.3f}", f"{t / middle['raffiot']:.2f}"] for name, t in middle.items()],
    )


if __name__ == "__main__":
    main()
