"""What README shows at a glance: a list of calls on two workers, beside what else does that.

Each peer is asked the same, in its own words, and in turns. A peer that isn't installed is left
out. Run it in an environment that has joblib, distributed and ray:

    python -m benchmarks.glance [--json FILE]
"""

from __future__ import annotations

import json
import logging
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import metadata, util
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

import distio
from benchmarks._timing import SPAWN, seconds, show, take_turns

ROUNDS = 3
TINY = 20_000
BUSY, BUSY_SECONDS = 64, 0.05
SOON = 0.4
"""So many seconds after the start of 64 calls a worker is killed."""
MOST_SECONDS = 60.0
"""A peer that has not ended by then hangs."""

Map = Callable[[Callable[[int], int], Sequence[int]], list[int]]


class Peer(NamedTuple):
    """A library with two workers that wait."""

    map: Map
    workers: Callable[[], list[int]]
    """The processes of its workers."""


def same(n: int) -> int:
    return n


def busy(n: int) -> int:
    """Compute for a while."""
    end = time.process_time() + BUSY_SECONDS
    while time.process_time() < end:
        pass
    return n


def children(word: str) -> list[int]:
    """Processes below this one whose command has the word."""
    found = psutil.Process().children(recursive=True)
    return [each.pid for each in found if word in " ".join(each.cmdline())]


# -- the peers --------------------------------------------------------------------------------


@contextmanager
def of_distio() -> Iterator[Peer]:
    with distio.Cluster.local(workers=2) as cluster:
        cluster.wait_for(workers=2)
        yield Peer(
            lambda f, items: list(distio.map(f, items, on=cluster)),
            lambda: [each.pid for each in cluster.members() if each.kind == "worker"],
        )


def of_executor(make: Callable[[], Executor]) -> Any:
    @contextmanager
    def start() -> Iterator[Peer]:
        before = set(children(""))
        executor = make()
        list(executor.map(busy, range(4)))
        yield Peer(
            lambda f, items: list(executor.map(f, items)),
            lambda: [pid for pid in children("spawn_main") if pid not in before],
        )
        executor.shutdown(cancel_futures=True)

    return start


@contextmanager
def of_joblib() -> Iterator[Peer]:
    from joblib import Parallel, delayed

    def run(f: Callable[[int], int], items: Sequence[int]) -> list[int]:
        found: list[int] = Parallel(2)(delayed(f)(item) for item in items)
        return found

    run(busy, range(4))
    yield Peer(run, lambda: children("popen_loky"))


@contextmanager
def of_dask() -> Iterator[Peer]:
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", **options) as hosts,
        Client(hosts) as client,
    ):
        yield Peer(
            lambda f, items: client.gather(client.map(f, items, pure=False)),
            lambda: [each.process.pid for each in hosts.workers.values()],
        )


@contextmanager
def of_ray() -> Iterator[Peer]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        num_cpus=2,
        _node_ip_address="127.0.0.1",
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
    )

    def run(f: Callable[[int], int], items: Sequence[int]) -> list[int]:
        remote = ray.remote(f)
        found: list[int] = ray.get([remote.remote(item) for item in items])
        return found

    run(busy, range(4))
    try:
        yield Peer(run, lambda: children("ray::"))
    finally:
        ray.shutdown()


PEERS: dict[str, tuple[str, Any]] = {
    "distio": ("distio", of_distio),
    "ProcessPoolExecutor": ("concurrent", of_executor(lambda: ProcessPoolExecutor(2, SPAWN))),
    "joblib": ("joblib", of_joblib),
    "dask": ("distributed", of_dask),
    "Ray": ("ray", of_ray),
}


# -- the questions ----------------------------------------------------------------------------


def tiny(peer: Peer) -> float:
    return seconds(lambda: peer.map(same, range(TINY)))


def steady(peer: Peer) -> float:
    return seconds(lambda: peer.map(busy, range(BUSY)))


def killed(start: Any) -> str:
    """What becomes of the calls when a worker is killed amid them."""
    with start() as peer:
        quiet = seconds(lambda: peer.map(busy, range(BUSY)))
        told: list[Any] = []

        def work() -> None:
            try:
                told.append(peer.map(busy, range(BUSY)))
            except BaseException as error:  # noqa: BLE001 (it is what is asked for)
                told.append(error)

        begun = time.perf_counter()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        time.sleep(SOON)
        os.kill(peer.workers()[0], signal.SIGKILL)
        thread.join(MOST_SECONDS)
        took = time.perf_counter() - begun
    if not told:
        return "hangs"
    if isinstance(told[0], BaseException):
        return f"fails: {type(told[0]).__name__}"
    assert told[0] == list(range(BUSY))
    return f"all results, {max(took - quiet, 0.0):.2f} s later"


COLD = {
    "distio": "import distio; list(distio.map(abs, [1], workers=2))",
    "ProcessPoolExecutor": "from concurrent.futures import ProcessPoolExecutor as P\n"
    "import multiprocessing as m\n"
    "with P(2, m.get_context('spawn')) as p: list(p.map(abs, [1]))",
    "joblib": "from joblib import Parallel, delayed; Parallel(2)([delayed(abs)(1)])",
    "dask": "from distributed import Client\n"
    "if __name__ == '__main__':\n"
    "    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as c:\n"
    "        c.gather(c.map(abs, [1]))",
    "Ray": "import ray\nray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
    "ray.get(ray.remote(lambda: 1).remote())",
}
"""Scripts that have one result; how long each takes, from the start of Python to its end."""


def cold(name: str, directory: Path) -> float:
    script = directory / f"cold_{name.lower()}.py"
    script.write_text(COLD[name])
    return seconds(
        lambda: subprocess.run([sys.executable, script], check=True, capture_output=True)
    )


def versions() -> dict[str, str]:
    named = {"joblib": "joblib", "dask": "distributed", "Ray": "ray", "distio": "distio"}
    found = {name: metadata.version(each) for name, each in named.items() if util.find_spec(each)}
    return {**found, "Python": platform.python_version(), "cores": str(os.cpu_count())}


def main(arguments: Sequence[str]) -> None:
    found_peers = {name: start for name, (module, start) in PEERS.items() if util.find_spec(module)}
    result: dict[str, Any] = {"versions": versions()}
    with ExitStack() as stack:
        peers = {name: stack.enter_context(start()) for name, start in found_peers.items()}
        for question in (tiny, steady):
            for peer in peers.values():
                peer.map(same, range(100))  # so that nothing is done for the first time
            result[question.__name__] = take_turns(
                {name: lambda p=peer: question(p) for name, peer in peers.items()},  # type: ignore[misc]  # noqa: B023 (called at once)
                ROUNDS,
            )
    result["killed"] = {name: killed(start) for name, start in found_peers.items()}
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        result["cold"] = take_turns(
            {name: lambda n=name: cold(n, place) for name in found_peers},  # type: ignore[misc]
            ROUNDS,
        )

    def cell(times: list[float]) -> str:
        return f"{median(times):.2f} ({min(times):.2f}–{max(times):.2f})"

    show(
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        ["", f"{TINY:,} tiny calls, s", "64 × 50 ms, s", "cold script, s", "kill -9 of a worker"],
        [
            [
                name,
                cell(result["tiny"][name]),
                cell(result["steady"][name]),
                cell(result["cold"][name]),
                result["killed"][name],
            ]
            for name in found_peers
        ],
    )
    if arguments[:1] == ["--json"]:
        Path(arguments[1]).write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
