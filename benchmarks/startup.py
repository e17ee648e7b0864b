"""How long does a cluster take to start, and what does it cost while it is idle?"""

from __future__ import annotations

import time

import psutil

from benchmarks._timing import medians, seconds, show, take_turns
from distio import Cluster, io

ROUNDS = 5
IDLE_SECONDS = 5.0


def first_result(cluster: Cluster) -> None:
    assert io.parallel(io.defer(int)).flat_map(io.wait).run(None, on=cluster).is_ok()


def until_first_result() -> float:
    start = time.perf_counter()
    with Cluster.local(workers=2) as cluster:
        first_result(cluster)
        return time.perf_counter() - start


def whole_life() -> None:
    with Cluster.local(workers=2) as cluster:
        first_result(cluster)


def processes() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    middle = medians(
        take_turns({"first": until_first_result, "life": lambda: seconds(whole_life)}, ROUNDS)
    )
    with Cluster.local(workers=2) as cluster:
        first_result(cluster)
        time.sleep(1.0)
        alive = processes()
        before = [cpu_seconds(process) for process in alive]
        time.sleep(IDLE_SECONDS)
        after = [cpu_seconds(process) for process in alive]
        memory = [process.memory_full_info().pss for process in alive]
    show(
        f"a local cluster of 2 workers: {len(alive)} processes, this one included",
        ["", ""],
        [
            [f"start to first result, median of {ROUNDS}", f"{middle['first']:.2f} s"],
            [f"the same and the end of it, median of {ROUNDS}", f"{middle['life']:.2f} s"],
            [
                f"CPU of all while idle for {IDLE_SECONDS:.0f} s",
                f"{(sum(after) - sum(before)) / IDLE_SECONDS:.2%} of a core",
            ],
            ["memory of all (PSS)", f"{sum(memory) / 2**20:.0f} MiB"],
        ],
    )


if __name__ == "__main__":
    main()
