"""How long do a function and a list take without any program: a map, submits, a grid search?

joblib and scikit-learn are peers that needn't be installed: then their lines say so.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from operator import neg

import distio
from benchmarks._timing import SPAWN, medians, seconds, show, take_turns

WORKERS = 2
ROUNDS = 5
ITEMS = 20_000
SUBMITS = 2_000
_AGE = "import psutil, time; print(time.time() - psutil.Process().create_time())"
FIRST = f"import distio; next(distio.map(abs, range(3), workers={WORKERS})); {_AGE}"
POOL = f"""
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
with ProcessPoolExecutor({WORKERS}, multiprocessing.get_context("spawn")) as pool:
    pool.submit(abs, 1).result(); {_AGE}
"""

HAS_JOBLIB = find_spec("joblib") is not None
HAS_SCIKIT_LEARN = HAS_JOBLIB and find_spec("sklearn") is not None


def by_map() -> None:
    assert len(list(distio.map(neg, range(ITEMS), workers=WORKERS))) == ITEMS


def by_joblib() -> None:
    from joblib import Parallel, delayed

    assert len(Parallel(n_jobs=WORKERS)(delayed(neg)(n) for n in range(ITEMS))) == ITEMS


def by_submits(executor: distio.Executor | ProcessPoolExecutor) -> Callable[[], None]:
    def submit() -> None:
        futures = [executor.submit(neg, n) for n in range(SUBMITS)]
        assert len([future.result() for future in futures]) == SUBMITS

    return submit


def search(backend: str) -> Callable[[], None]:
    import_module("distio.joblib")  # which registers it
    from joblib import parallel_config
    from sklearn.datasets import make_classification
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    x, y = make_classification(n_samples=1_000, random_state=0)

    def fit() -> None:
        with parallel_config(backend=backend, n_jobs=WORKERS):
            GridSearchCV(SVC(), {"C": [0.1, 1, 10], "gamma": [0.01, 0.1]}, cv=5).fit(x, y)

    return fit


def first_result(script: str) -> float:
    """How old a process is, in seconds, when it has the first result of a script."""
    command = [sys.executable, "-c", script]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def measure(measures: dict[str, Callable[[], None]]) -> dict[str, float]:
    for warm_up in measures.values():
        warm_up()
    return medians(
        take_turns({name: lambda f=f: seconds(f) for name, f in measures.items()}, ROUNDS)  # type: ignore[misc]
    )


def main() -> None:
    rows = []
    with distio.Executor(WORKERS) as executor, ProcessPoolExecutor(WORKERS, SPAWN) as pool:
        submits = measure({"distio": by_submits(executor), "pool": by_submits(pool)})
        measures = {"distio": by_map}
        if HAS_JOBLIB:
            measures["joblib"] = by_joblib
        maps = measure(measures)
    rate, pool_rate = ITEMS / maps["distio"], SUBMITS / submits["pool"]
    rows.append(["distio.map", f"{rate:,.0f}/s", f"{rate / pool_rate:.1f} × (goal: ≥ 5)"])
    joblib = f"{ITEMS / maps['joblib']:,.0f}/s" if HAS_JOBLIB else "not installed"
    ratio = f"distio.map: {maps['distio'] / maps['joblib']:.2f} × (≤ 1.3)" if HAS_JOBLIB else ""
    rows.append(["joblib, which batches", joblib, ratio])
    rows.append(["Executor.submit", f"{SUBMITS / submits['distio']:,.0f}/s", ""])
    rows.append(["ProcessPoolExecutor.submit", f"{pool_rate:,.0f}/s", "1 ×"])
    show(f"trivial calls on {WORKERS} workers, medians of {ROUNDS}", ["", "calls", ""], rows)

    scripts = {"distio.map": FIRST, "ProcessPoolExecutor, spawned": POOL}
    ages = medians(
        take_turns({name: lambda s=s: first_result(s) for name, s in scripts.items()}, ROUNDS)  # type: ignore[misc]
    )
    lines = [[name, f"{age:.2f} s"] for name, age in ages.items()]
    show("first result of a cold script (goal: ≤ 0.6 s)", ["", ""], lines)

    if not HAS_SCIKIT_LEARN:
        print("a grid search isn't measured: scikit-learn isn't installed")
        return

    fits = measure({name: search(name) for name in ("distio", "loky")})
    lines = [[name, f"{each:.2f} s", f"{each / fits['loky']:.2f} ×"] for name, each in fits.items()]
    show("GridSearchCV (goal: ≤ 1.1 × loky)", ["", "", ""], lines)


if __name__ == "__main__":
    main()
