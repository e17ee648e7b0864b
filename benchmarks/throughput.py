"""How many tiny tasks a second do two workers take, compared with a process pool?"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from benchmarks._timing import SPAWN, medians, seconds, show, take_turns
from distio import Cluster, io

TASKS = 10_000
ROUNDS = 5


def same(n: int) -> int:
    return n


def closure(n: int) -> Callable[[], int]:
    return lambda: n


def of_distio(cluster: Cluster) -> None:
    program = io.parallel([io.defer(closure(n)) for n in range(TASKS)]).flat_map(io.wait)
    results = program.run(None, on=cluster).unsafe_get()
    assert [result.unsafe_get() for result in results] == list(range(TASKS))


def of_pool(pool: ProcessPoolExecutor) -> None:
    assert list(pool.map(same, range(TASKS), chunksize=1)) == list(range(TASKS))


def main() -> None:
    with (
        Cluster.local(workers=2, threads=1) as cluster,
        ProcessPoolExecutor(2, mp_context=SPAWN) as pool,
    ):
        of_distio(cluster)
        of_pool(pool)
        found = take_turns(
            {
                "distio, closures": lambda: seconds(lambda: of_distio(cluster)),
                "process pool, a function of a module": lambda: seconds(lambda: of_pool(pool)),
            },
            ROUNDS,
        )
    middle = medians(found)
    peer = middle["process pool, a function of a module"]
    show(
        f"{TASKS:,} tiny tasks on 2 processes, median of {ROUNDS}",
        ["", "tasks/s", "of the pool"],
        [[name, f"{TASKS / t:,.0f}", f"{peer / t:.2f}"] for name, t in middle.items()],
    )


if __name__ == "__main__":
    main()
