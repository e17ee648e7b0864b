"""A cluster in actors of Ray; prints what a test looks at, as one line of JSON."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import ray

from distio import Cluster, io

SECONDS = 90.0


def squares(numbers: range) -> int:
    return sum(number * number for number in numbers)


def main() -> None:
    found: dict[str, object] = {}
    ray.init(
        num_cpus=2,
        resources={"shelf": 2},
        _node_ip_address="127.0.0.1",
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    with Cluster.on_ray(2, resources={"shelf": 1}, timeout=SECONDS) as cluster:
        before = cluster.wait_for(workers=2, timeout=SECONDS)
        found["resources"] = [dict(each.resources) for each in before]
        work = io.zip_par([io.defer(squares, range(30_000)) for _ in range(64)]).map(sum)
        run = cluster.submit(work, None)
        actor = int(before[0].name.split(":")[2])
        os.kill(actor, signal.SIGKILL)  # Ray starts it again
        found["sum"] = run.result(SECONDS).unsafe_get() == 64 * squares(range(30_000))
        began = time.monotonic()
        while str(actor) in str(cluster.wait_for(workers=2, timeout=SECONDS)):
            assert time.monotonic() < began + SECONDS
            time.sleep(0.1)
        pids = [each.pid for each in cluster.members() if each.kind == "worker"]
    _, alive = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], 10)
    found["orphans"] = len(alive)
    while (free := ray.available_resources().get("shelf")) != 2:  # Ray takes a moment
        assert time.monotonic() < began + SECONDS
        time.sleep(0.1)
    found["free"] = free
    ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
