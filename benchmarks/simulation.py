"""How many steps of fibers, and how many whole runs, does a simulation do in a second?

Invariants are checked all the while. The goal is for steps; a run of few steps and many messages
shows what the rest costs. The peer is the same program on one real thread.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks._timing import seconds, show
from distio import IO, io
from distio.testing import Simulation, simulate

ROUNDS = 5
GOAL = 20_000

Program = IO[Any, Any, Any]


def yielders(fibers: int, yields: int) -> Program:
    return io.zip_par([io.yield_.then([io.yield_] * yields) for _ in range(fibers)])


def tree(depth: int) -> Program:
    if depth == 0:
        return io.sleep(0.01).then(io.pure(1))
    return io.zip_par(tree(depth - 1), tree(depth - 1)).map(sum)


PROGRAMS = {
    "100 fibers that yield 20 times": (yielders(100, 20), 5),
    "1,000 fibers that yield 20 times": (yielders(1_000, 20), 1),
    "a tree of 15 fibers, 8 of which sleep": (tree(3), 100),
    "4 fibers that sleep": (io.zip_par([io.sleep(n / 10) for n in range(4)]), 200),
}


def measure(program: Program, runs: int) -> tuple[float, float, float, float]:
    """Steps, messages and runs a second, and how much longer it takes than on a thread."""
    simulations: list[Simulation[Any, Any]] = []
    took = seconds(lambda: simulations.extend([simulate(program, seed=n) for n in range(runs)]))
    steps = sum(simulation.steps for simulation in simulations)
    messages = sum(simulation.messages for simulation in simulations)
    on_a_thread = seconds(lambda: program.run(None)) * runs
    return steps / took, messages / took, runs / took, took / on_a_thread


def main() -> None:
    rows = []
    for name, (program, runs) in PROGRAMS.items():
        found = [measure(program, runs) for _ in range(ROUNDS)]
        rows.append([name, *[f"{median(column):,.1f}" for column in zip(*found)]])
    show(
        f"simulated, median of {ROUNDS}; goal: {GOAL:,} steps/s",
        ["", "steps/s", "messages/s", "runs/s", "one thread takes 1, this"],
        rows,
    )


if __name__ == "__main__":
    main()
