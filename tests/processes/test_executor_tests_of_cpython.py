"""CPython's own tests of executors, on `distio.Executor`.

They are part of the package `test`, in this form from 3.12 on. Some builds of Python leave it out;
then nothing is tested here.
"""

from __future__ import annotations

import importlib
import unittest
from typing import Any, Final

import pytest

import distio

pytestmark = pytest.mark.slow

_PACKAGE: Final = "test.test_concurrent_futures"

_support = pytest.importorskip("test.support", reason="this Python has no tests")
_support.use_resources = ["cpu"]  # no test that sleeps for long; asked while they are imported
pytest.importorskip(f"{_PACKAGE}.executor", reason="this Python has other tests, or none")

DOES_NOT_APPLY: Final = {
    "test_max_workers_negative": "the message names the argument, which may be `threads`",
    "test_interpreter_shutdown": "a script that names its executor; test_plain_functions has it",
    "test_submit_after_interpreter_shutdown": "the same",
    "test_hang_gh83386": "the same",
}
"""By name, the tests that say something of other executors alone.

The classes that aren't taken at all look into `_threads`, `_processes`, `_call_queue`, `_broken` or
`_RemoteTraceback`: `ThreadPoolExecutorTest`, `ProcessPoolExecutorTest`, `ThreadPoolShutdownTest`,
`ProcessPoolShutdownTest`, `ThreadPoolWaitTests`, `FailingInitializerMixin`, all of `test_deadlock`.
Those of `test_future` are about futures without executors.
"""


def _tests(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)


_MIXINS: Final = {
    "Calls": _tests("executor", "ExecutorTest"),
    "Waits": _tests("test_wait", "WaitTests"),
    "AsCompleted": _tests("test_as_completed", "AsCompletedTests"),
    "Shutdown": _tests("test_shutdown", "ExecutorShutdownTest"),
}


class OfExecutor(unittest.TestCase):
    """Makes the executor that the tests use."""

    worker_count = 5
    executor: distio.Executor
    cluster: distio.Cluster | None = None

    def executor_type(self, max_workers: int | None = None, **kwargs: Any) -> distio.Executor:
        if self.cluster is not None:
            return distio.Executor(on=self.cluster, **kwargs)
        return distio.Executor(threads=max_workers or 4, **kwargs)

    def setUp(self) -> None:
        if why := DOES_NOT_APPLY.get(self._testMethodName):
            self.skipTest(why)
        self.executor = self.executor_type(self.worker_count)

    def tearDown(self) -> None:
        self.executor.shutdown()
        del self.executor


class OnCluster(OfExecutor):
    """On a cluster of this module."""


def setUpModule() -> None:
    OnCluster.cluster = distio.Cluster.local(workers=1, threads=OfExecutor.worker_count)


def tearDownModule() -> None:
    assert OnCluster.cluster is not None
    OnCluster.cluster.close()


for _name, _mixin in _MIXINS.items():
    for _base in (OfExecutor, OnCluster):
        _made = f"Test{_name}{_base.__name__}"
        globals()[_made] = type(_made, (_mixin, _base), {"__module__": __name__})
