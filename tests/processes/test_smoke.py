"""The shortest way through everything: threads, then a local cluster."""

from __future__ import annotations

import os

import pytest

from distio import Cluster, Ok, io


def test_program_runs_on_threads() -> None:
    assert io.zip_par([io.pure(n) for n in range(10)]).run(None, 2) == Ok(list(range(10)))


@pytest.mark.slow
def test_children_run_in_worker_processes() -> None:
    with Cluster.local(workers=1) as cluster:
        pids = io.zip_par(io.defer(os.getpid), io.defer(os.getpid)).run(None, on=cluster)
    assert isinstance(pids, Ok)
    assert os.getpid() not in pids.success
