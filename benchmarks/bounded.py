"""How long do many items take, four at a time on two workers, compared with a process pool?"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks._timing import SPAWN, medians, seconds, show, take_turns
from distio import Cluster, io

TINY = 100_000
SLOW = 64
SLOW_SECONDS = 0.02
ROUNDS = 3
AT_MOST = 4
"""Two workers, and as many chunks again that are on their way."""
FEW_CHUNKS = 8
"""Into so many chunks someone who knows how long items take would divide them."""


def same(n: int) -> int:
    return n


def burn(n: int) -> int:
    """Use as much CPU time, however long that takes on a busy machine."""
    until = time.thread_time() + SLOW_SECONDS
    while time.thread_time() < until:
        pass
    return n


def of_distio(cluster: Cluster, f: Callable[[int], Any], count: int) -> None:
    result = io.traverse_par(range(count), f, at_most=AT_MOST).run(None, on=cluster)
    assert result.unsafe_get() == list(range(count))


def of_pool(pool: ProcessPoolExecutor, f: Callable[[int], int], count: int, size: int) -> None:
    assert list(pool.map(f, range(count), chunksize=size)) == list(range(count))


def compare(
    cluster: Cluster,
    pool: ProcessPoolExecutor,
    program: Callable[[int], Any],
    f: Callable[[int], int],
    count: int,
) -> list[tuple[str, ...]]:
    few = count // FEW_CHUNKS
    found = take_turns(
        {
            "distio": lambda: seconds(lambda: of_distio(cluster, program, count)),
            "pool, chunksize=1": lambda: seconds(lambda: of_pool(pool, f, count, 1)),
            f"pool, chunksize={few:,}": lambda: seconds(lambda: of_pool(pool, f, count, few)),
        },
        ROUNDS,
    )
    middle = medians(found)
    return [(who, f"{t:.3f}", f"{middle['distio'] / t:.2f}") for who, t in middle.items()]


def main() -> None:
    with (
        Cluster.local(workers=2, threads=1) as cluster,
        ProcessPoolExecutor(2, mp_context=SPAWN) as pool,
    ):
        of_distio(cluster, lambda n: io.pure(n), 1_000)
        of_pool(pool, same, 1_000, 1)
        tiny = compare(cluster, pool, lambda n: io.pure(n), same, TINY)
        slow = compare(cluster, pool, lambda n: io.defer(burn, n), burn, SLOW)
    columns = ["", "seconds", "distio takes × of it"]
    where = f"at most {AT_MOST} at a time on 2 processes, median of {ROUNDS}"
    show(f"{TINY:,} tiny items, {where}", columns, tiny)
    show(f"{SLOW} items of {SLOW_SECONDS * 1000:g} ms of CPU, {where}", columns, slow)


if __name__ == "__main__":
    main()
