"""Do workers over ssh compute as much as those of a local cluster? Goal: 0.9 times as much.

The ssh server is one of this benchmark's own, on loopback, so both clusters have the same cores.
Of each, the best of many turns counts: how busy the machine is differs more than the two do.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks._timing import seconds, show, take_turns
from benchmarks.cpu import CPU_SECONDS, FIBERS, run
from distio import Cluster, io
from distio.providers import SSH
from tests.harness.sshd import MISSING, SshServer

ROUNDS = 8
TRIPS = 50


def round_trips(on: Cluster) -> float:
    """How long one round trip takes, in milliseconds."""
    times = [seconds(lambda: on.submit(io.pure(1), None).result(60)) for _ in range(TRIPS)]
    return median(times) * 1000


def measure(server: SshServer) -> None:
    provider = SSH(["node1", "node2"], options=server.options, python=sys.executable)
    starts: list[float] = []

    def start() -> Cluster:
        found: list[Cluster] = []
        starts.append(seconds(lambda: found.append(Cluster.start(provider, workers=2))))
        return found[0]

    with Cluster.local(workers=2) as local, start() as hosted:
        for cluster in (local, hosted):
            cluster.wait_for(workers=2)
            run(cluster)
        found = take_turns(
            {
                "Cluster.local": lambda: seconds(lambda: run(local)),
                "over ssh": lambda: seconds(lambda: run(hosted)),
            },
            ROUNDS,
        )
        trips = {"Cluster.local": round_trips(local), "over ssh": round_trips(hosted)}
    best = min(found["Cluster.local"])
    show(
        f"{FIBERS} fibers of {CPU_SECONDS * 1000:.0f} ms of CPU on 2 workers, best of {ROUNDS}; "
        f"goal: 0.90 (started over ssh in {starts[0]:.2f} s)",
        ["", "seconds", "times local", "round trip"],
        [
            [name, f"{min(t):.2f}", f"{best / min(t):.2f}", f"{trips[name]:.2f} ms"]
            for name, t in found.items()
        ],
    )


def main() -> None:
    if MISSING:
        print(f"left out: {', '.join(MISSING)} isn't installed")
        return
    with tempfile.TemporaryDirectory() as directory:
        server = SshServer(Path(directory))
        try:
            measure(server)
        finally:
            server.close()


if __name__ == "__main__":
    main()
