"""How long does it take to start two workers, and what do they cost while they are idle?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.harness import Candidate, Measure, Question, Start, main
from benchmarks.harness.candidate import processor_of_children
from benchmarks.harness.peers import PEERS, Peer, candidates_of, same
from benchmarks.harness.question import each_time

IDLE_SECONDS = 5.0

SCRIPTS = {
    "distio": "import distio\ndistio.map; imported()\ndone(list(distio.map(abs, [1], workers=2)))",
    "Pool": "import multiprocessing\nimported()\n"
    "with multiprocessing.get_context('spawn').Pool(2) as pool: done(pool.map(abs, [1]))",
    "ProcessPoolExecutor": "import multiprocessing\n"
    "from concurrent.futures import ProcessPoolExecutor\nimported()\n"
    "with ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as pool:\n"
    "    done(list(pool.map(abs, [1])))",
    "joblib": "from joblib import Parallel, delayed\nimported()\n"
    "done(Parallel(2)([delayed(abs)(1)]))",
    "mpire": "from mpire import WorkerPool\nimported()\n"
    "with WorkerPool(2, start_method='spawn') as pool: done(pool.map(abs, [1]))",
    "dask": "from distributed import Client\nimported()\n"
    "with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:\n"
    "    done(client.gather(client.map(abs, [1])))",
    "Ray": "import ray\nimported()\n"
    "ray.init(num_cpus=2, _node_ip_address='127.0.0.1', include_dashboard=False,\n"
    "         log_to_driver=False, object_store_memory=100 * 2**20, _temp_dir=_HERE)\n"
    "done(ray.get(ray.remote(lambda: 1).remote()))",
}
"""Each has a first result and ends. Below `if __name__ …`, as workers import some of them."""

CLOCK = """\
import time


def imported():
    open("imported", "w").write(repr(time.time()))


def done(_):
    open("done", "w").write(repr(time.time()))


"""
"""Before each script, which calls these when it comes so far."""

Times = tuple[float, float, float, float]
"""When a script began, had imported its library, had its first result, and was over."""


def script(name: str, took: Callable[[Times], float]) -> Start:
    def measure(_: int) -> float:
        path = Path("cold.py").absolute()
        body = SCRIPTS[name].replace("_HERE", repr(str(path.parent))).replace("\n", "\n    ")
        path.write_text(f"{CLOCK}if __name__ == '__main__':\n    {body}\n")
        began = time.time()
        subprocess.run([sys.executable, str(path)], check=True, stdout=subprocess.DEVNULL)
        over = time.time()
        imported, done = (float(Path(each).read_text()) for each in ("imported", "done"))
        return took((began, imported, done, over))

    return each_time(measure)


def scripts(took: Callable[[Times], float]) -> list[Candidate]:
    return [Candidate(name, script(name, took), of) for name, (of, _) in PEERS.items()]


def idle(_: Peer, count: int) -> Measure:
    """Of a core, in thousandths."""

    def measure() -> float:
        duration = IDLE_SECONDS * count
        before = processor_of_children()
        time.sleep(duration)
        return (processor_of_children() - before) / duration * 1e3

    return measure


def memory(peer: Peer, _: int) -> Measure:
    """Of this process and those below it, what they share counted once."""

    def measure() -> float:
        this = psutil.Process()
        processes = [this, *this.children(recursive=True)]
        return sum(each.memory_full_info().pss for each in processes) / 2**20

    assert peer.map(same, [1]) == [1]
    return measure


QUESTIONS = [
    Question(
        __file__,
        "cold-script",
        "How long does a script take that has one call made by two workers, all of it?",
        "s",
        scripts(lambda times: times[3] - times[0]),
        (1, 1, 1),
        goal="0.6 s",
    ),
    Question(
        __file__,
        "first-result",
        "How long does such a script take until it has the result?",
        "s",
        scripts(lambda times: times[2] - times[0]),
        (1, 0, 1),
        goal="0.6 s",
    ),
    Question(
        __file__,
        "first-result-imported",
        "How long does that take once the script has imported its library?",
        "s",
        scripts(lambda times: times[2] - times[1]),
        (1, 0, 1),
        goal="0.3 s",
    ),
    Question(
        __file__,
        "idle",
        "What do two idle workers and what belongs to them compute, in a second?",
        "ms",
        candidates_of(idle),
        (1, 0, 0),
        rounds=2,
        says="All candidates are idle at the same time.",
    ),
    Question(
        __file__,
        "idle-memory",
        "How much memory do a program and its two idle workers take?",
        "MiB",
        candidates_of(memory),
        (1, 0, 1),
        rounds=1,
        says="PSS: pages that several processes share are counted once.",
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
