"""Where programs are run: each behaviour is tested in every place."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import settings

from distio import IO, Cluster, Result

# how long an example takes says nothing on a busy machine
settings.register_profile("distio", deadline=None)
settings.load_profile("distio")

Run = Callable[..., Result[Any, Any]]

IN_PROCESS = {"1 thread": 1, "4 threads": 4}
PLACES = [*IN_PROCESS, "cluster"]


@cache
def shared_cluster() -> Cluster:
    """One local cluster for all tests that only run programs on it."""
    cluster = Cluster.local(workers=2, threads=2)
    atexit.register(cluster.close)
    return cluster


def run_at(place: str, io: IO[Any, Any, Any], context: Any = None) -> Result[Any, Any]:
    """Run `io` at one of PLACES."""
    if place == "cluster":
        return io.run(context, on=shared_cluster())
    return io.run(context, IN_PROCESS[place])


@pytest.fixture(params=PLACES)
def run(request: pytest.FixtureRequest) -> Run:
    """`run(io, context=None)`, in each place."""
    return lambda io, context=None: run_at(request.param, io, context)


@pytest.fixture(params=[*IN_PROCESS])
def run_in_process(request: pytest.FixtureRequest) -> Run:
    """The same, for programs whose fibers share what can't be pickled."""
    return lambda io, context=None: run_at(request.param, io, context)
