"""What does it cost if a worker is killed with SIGKILL?

The loss is to be seen within 50 ms. A fiber goes on when its function is called again on another
worker, which is the time to see the loss and to place the fiber; without snapshots it is a
`WorkerLost` instead.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._timing import seconds
from benchmarks.harness import Candidate, Question, Start, main
from benchmarks.harness.peers import PEERS, WORKERS, Peer
from benchmarks.harness.question import each_time
from distio import Cluster, io
from distio.protocol.domains import Snapshots

CALLS = 64
NAP_SECONDS = 0.05
SOON = 0.25
"""The part of the calm time after which a worker is killed."""


# -- many calls, one process killed -----------------------------------------------------------


def nap(n: int) -> int:
    time.sleep(NAP_SECONDS)
    return n


def who_naps(n: int) -> int:
    nap(n)
    return os.getpid()


def later(opens: Callable[[], AbstractContextManager[Peer]], count: int) -> float:
    """How much later all values are there than they are without a kill.

    Raises:
        Exception: a call fails, by an exception of the peer's own.
    """
    with opens() as peer:

        def run() -> None:
            assert peer.map(nap, range(count)) == list(range(count))

        run()
        calm = seconds(run)
        pid = min(peer.map(who_naps, range(8)))
        killer = threading.Timer(SOON * calm, os.kill, (pid, signal.SIGKILL))
        killer.start()
        try:
            return seconds(run) - calm
        finally:
            killer.join()


def of_peer(opens: Callable[[], AbstractContextManager[Peer]]) -> Start:
    return each_time(lambda count: later(opens, count))


# -- one fiber --------------------------------------------------------------------------------


def stay(directory: Path) -> int:
    """Tell that this process has begun, and when; the first one stays."""
    is_first = not any(directory.iterdir())
    name = directory / ("first" if is_first else "second")
    name.with_suffix(".new").write_text(f"{os.getpid()} {time.monotonic()}")
    name.with_suffix(".new").rename(name)
    if is_first:
        time.sleep(1000)
    return os.getpid()


def note(path: Path) -> tuple[int, float]:
    """The process that has begun, and when."""
    pid, moment = path.read_text().split()
    return int(pid), float(moment)


def from_kill(snapshots: Snapshots) -> float:
    """Milliseconds until the fiber goes on, or is lost."""
    with (
        TemporaryDirectory() as name,
        Cluster.local(workers=WORKERS, snapshots=snapshots) as cluster,
    ):
        naps = io.zip_par([io.defer(who_naps, n) for n in range(2 * WORKERS)])
        while len(set(cluster.run(naps, None).unsafe_get())) < WORKERS:
            pass  # each has to have opened a function of this module before
        directory = Path(name)
        doomed = cluster.submit(io.defer(stay, directory), None)
        while not (directory / "first").exists():
            time.sleep(0.001)
        pid, _ = note(directory / "first")
        start = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        result = doomed.result(timeout=30)
        end = time.monotonic()
        if snapshots == "off":
            assert result.is_panic()
        else:
            assert result.is_ok()
            _, end = note(directory / "second")
        return (end - start) * 1e3


def of_level(snapshots: Snapshots) -> Start:
    def measure(count: int) -> float:
        logging.disable()  # distio logs each loss
        return max(from_kill(snapshots) for _ in range(count))

    return each_time(measure)


QUESTIONS = [
    Question(
        __file__,
        "killed-worker",
        f"How much later do {CALLS} calls of 50 ms end if one of two workers is killed?",
        "s",
        [Candidate(name, of_peer(opens), of) for name, (of, opens) in PEERS.items()],
        (CALLS, 24, 8),
        rounds=3,
        warms_up=False,
        limit=30,
        goal="0.3 s",
        says="What fails raises an exception of its own, and the values are lost. Each call that "
        "was under way in the killed worker is made again, which takes 0.05 s.",
    ),
    Question(
        __file__,
        "loss",
        "How long is it at most from kill -9 of its worker until a fiber …?",
        "ms",
        [
            Candidate("begins again elsewhere", of_level("births")),
            Candidate("is a WorkerLost, without snapshots", of_level("off")),
        ],
        (3, 1, 1),
        rounds=3,
        warms_up=False,
        goal="50 ms",
        says="Each round is the longest of three.",
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
