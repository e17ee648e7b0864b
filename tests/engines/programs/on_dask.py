"""A cluster beside that of Dask; prints what a test looks at, as one line of JSON."""

from __future__ import annotations

import json
import logging
import os
import signal
import time

import dask
import psutil
from distributed import Client, LocalCluster

from distio import Cluster, io

SECONDS = 60.0


def squares(numbers: range) -> int:
    return sum(number * number for number in numbers)


def main() -> None:
    dask.config.set(
        {"distributed.adaptive.interval": "200ms", "distributed.adaptive.wait-count": 2}
    )
    found: dict[str, object] = {}
    options = {"dashboard_address": None, "host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **options) as hosts,
        Client(hosts) as client,
    ):
        client.wait_for_workers(2)
        with Cluster.on_dask(client, timeout=SECONDS) as cluster:
            before = cluster.wait_for(workers=2, timeout=SECONDS)
            found["names"] = sorted(each.name.rpartition(":")[0] for each in before)
            work = io.zip_par([io.defer(squares, range(30_000)) for _ in range(64)]).map(sum)
            run = cluster.submit(work, None)
            victim = min(client.run(os.getpid).values())
            os.kill(victim, signal.SIGKILL)  # the nanny starts another one
            found["sum"] = run.result(SECONDS).unsafe_get() == 64 * squares(range(30_000))
            began = time.monotonic()
            while str(victim) in str(cluster.wait_for(workers=2, timeout=SECONDS)):
                assert time.monotonic() < began + SECONDS
                time.sleep(0.1)

            sleeps = io.zip_par([io.sleep(3).then(io.pure(1)) for _ in range(8)]).map(sum)
            run = cluster.submit(sleeps, None)
            hosts.adapt(minimum=0, maximum=2)
            found["sleeps"] = run.result(SECONDS).unsafe_get()
            pids = [each.pid for each in cluster.members() if each.kind == "worker"]
        found["dask"] = client.submit(sum, [1, 2]).result(SECONDS)
        _, alive = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], 10)
        found["orphans"] = len(alive)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
