"""distio as the backend of joblib."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from multiprocessing import TimeoutError as JoblibTimeout

import joblib
import pytest
from joblib import Parallel, delayed, parallel_config

import distio.joblib

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[distio.Cluster]:
    with distio.Cluster.local(workers=2) as cluster:
        yield cluster


@pytest.fixture
def backend(cluster: distio.Cluster) -> Iterator[None]:
    """The backend distio is the one that `Parallel` uses."""
    with parallel_config(backend="distio", on=cluster):
        yield


@pytest.mark.usefixtures("backend")
def test_calls_are_made_by_workers_in_batches() -> None:
    def worker(n: int) -> tuple[int, int]:
        return n, os.getpid()

    found = Parallel(n_jobs=2)(delayed(worker)(n) for n in range(200))
    assert [n for n, _ in found] == list(range(200))
    assert os.getpid() not in {pid for _, pid in found}


@pytest.mark.usefixtures("backend")
def test_number_of_jobs_is_that_of_the_workers() -> None:
    assert joblib.effective_n_jobs(-1) == 2
    assert joblib.effective_n_jobs(8) == 2
    assert joblib.effective_n_jobs(1) == 1
    assert joblib.effective_n_jobs(-2) == 1
    with pytest.raises(ValueError, match="n_jobs == 0"):
        joblib.effective_n_jobs(0)


@pytest.mark.usefixtures("backend")
def test_results_are_generated_as_they_come() -> None:
    values = Parallel(n_jobs=2, return_as="generator")(delayed(abs)(n) for n in range(50))
    assert list(values) == list(range(50))
    values = Parallel(n_jobs=2, return_as="generator_unordered")(delayed(abs)(n) for n in range(9))
    assert sorted(values) == list(range(9))


@pytest.mark.usefixtures("backend")
def test_exception_of_a_call_ends_the_others_and_the_backend_goes_on() -> None:
    def inverse(n: int) -> float:
        return 1 / n

    with pytest.raises(ZeroDivisionError) as caught:
        Parallel(n_jobs=2)(delayed(inverse)(n) for n in range(100))
    assert "return 1 / n" in "\n".join(caught.value.__notes__)
    assert Parallel(n_jobs=2)(delayed(inverse)(n) for n in (1, 2)) == [1, 0.5]


@pytest.mark.usefixtures("backend")
def test_parallel_within_a_call_uses_threads_of_its_worker() -> None:
    def total(n: int, depth: int) -> int:
        if not depth:
            return n
        return sum(Parallel(n_jobs=2)(delayed(total)(k, depth - 1) for k in range(n)))

    def processes() -> set[tuple[int, str]]:
        def where(_: int) -> tuple[int, str]:
            return os.getpid(), threading.current_thread().name

        return set(Parallel(n_jobs=2)(delayed(where)(n) for n in range(4)))

    found = Parallel(n_jobs=2)(delayed(total)(n, 2) for n in range(5))
    assert found == [sum(sum(range(k)) for k in range(n)) for n in range(5)]
    for places in Parallel(n_jobs=2)(delayed(processes)() for _ in range(2)):
        assert len({pid for pid, _ in places}) == 1


@pytest.mark.usefixtures("backend")
def test_call_that_takes_too_long_is_a_timeout() -> None:
    with pytest.raises(JoblibTimeout):
        Parallel(n_jobs=2, timeout=0.1)(delayed(time.sleep)(0.5) for _ in range(2))


def test_one_job_is_done_in_this_process(cluster: distio.Cluster) -> None:
    with parallel_config(backend="distio", on=cluster, n_jobs=1):
        assert set(Parallel()(delayed(os.getpid)() for _ in range(3))) == {os.getpid()}


def test_backend_has_worker_processes_of_its_own_by_default() -> None:
    with parallel_config(backend="distio", n_jobs=2):
        assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(3))
        assert joblib.effective_n_jobs(3) == 3


def test_wrong_cluster_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a Cluster"):
        parallel_config(backend="distio", on="cluster")
