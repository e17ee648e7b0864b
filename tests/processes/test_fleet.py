"""Clusters whose workers a provider starts: what becomes of those that end, and of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil
import pytest

from distio import Cluster, Ok, Panic, io
from distio.errors import ClusterError, MatchError, WorkerLost
from distio.providers import SSH, Command, Ended, Local, Pending, Provider, State
from tests.conftest import PATIENCE
from tests.harness.fleets import fleet_of


class Scripted(Provider):
    """Starts workers on this machine, or none: then it says what the test says."""

    def __init__(self, *ends: Ended) -> None:
        self.ends = list(ends)
        """How the first workers end, which never begin."""
        self.started: list[str] = []
        self.starts = threading.Semaphore(0)
        """Released at each start."""
        self.stopped: list[tuple[str, float]] = []
        self.is_leaving = threading.Event()
        self.has_stopped = threading.Event()
        self._said: dict[str, State] = {}
        self._local = Local()

    def start(self, command: Command, count: int) -> list[str]:
        if not self.ends:
            names = self._local.start(command, count)
        else:
            names = [f"none-{command.first + index}" for index in range(count)]
            for name in names:
                self._said[name] = self.ends.pop(0) if self.ends else Pending("no room")
        self.started += names
        self.starts.release()
        return names

    def status(self, names: Sequence[str]) -> Mapping[str, State]:
        said = {name: self._said[name] for name in names if name in self._said}
        return {**self._local.status(names), **said}

    def stop(self, names: Sequence[str], seconds: float) -> None:
        self.stopped += [(name, seconds) for name in names]
        self._local.stop(names, seconds)
        self.has_stopped.set()

    def leaving(self) -> Mapping[str, float]:
        is_leaving = self.is_leaving.is_set() and not self.has_stopped.is_set()
        return {self.started[0]: 7.0} if is_leaving else {}

    def watch(self, changed: Callable[[], None]) -> bool:
        self._local.watch(changed)
        return False

    poll_seconds = 0.02

    def close(self, names: Sequence[str]) -> None:
        self._local.close(names)


BOOM = Ended("exited with code 3", "first line\nlast line")


@pytest.mark.slow
def test_workers_that_never_join_end_the_cluster_with_what_they_wrote(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = Scripted(BOOM, BOOM, BOOM)
    with pytest.raises(ClusterError) as raised:
        Cluster.start(provider, workers=1)
    expected = "the last worker none-3 ended before it had joined: exited with code 3, 3 times in"
    assert str(raised.value).startswith(expected)
    assert str(raised.value).endswith("\n    first line\n    last line")
    assert len(provider.started) == 3
    assert "another one is started in 0.1 s" in caplog.text


@pytest.mark.slow
def test_worker_that_has_no_place_yet_is_waited_for() -> None:
    provider = Scripted(BOOM)
    with Cluster.start(provider, 1, timeout=PATIENCE, tags={"zone": "a"}) as cluster:
        assert [each.tags for each in cluster.wait_for(workers=1)] == [{"zone": "a"}]
        assert io.zip_par([io.pure(1)] * 2).run(None, on=cluster) == Ok([1, 1])
    assert provider.started == ["none-1", "local-1"]


@pytest.mark.slow
def test_host_that_is_gone_keeps_no_other_place_empty() -> None:
    class OneGone(Scripted):
        is_gone = False

        def start(self, command: Command, count: int) -> list[str]:
            if self.is_gone and 1 in command.places:
                raise ClusterError("the second host is gone")
            return super().start(command, count)

    provider = OneGone()
    with Cluster.start(provider, workers=2) as cluster:
        both = cluster.wait_for(workers=2, timeout=PATIENCE)
        provider.is_gone = True
        for each in both:
            os.kill(each.pid, signal.SIGKILL)
        assert io.zip_par([io.pure(1)] * 2).run(None, on=cluster) == Ok([1, 1])
        provider.is_gone = False
        cluster.wait_for(workers=2, timeout=PATIENCE)


@pytest.mark.slow
def test_wait_for_more_workers_than_will_come_ends_with_the_reason() -> None:
    class Half(Scripted):
        """A provider with a place that never has a worker that joins."""

        def start(self, command: Command, count: int) -> list[str]:
            self.ends = [BOOM] if list(command.places) == [1] else []
            return super().start(command, count)

    provider = Half()
    with Cluster.start(provider, workers=1) as cluster:
        assert provider.started == ["local-1"]
        fleet_of(cluster).start(1)
        with pytest.raises(ClusterError, match=r"no more than 1 workers will come: worker none-"):
            cluster.wait_for(workers=2, timeout=PATIENCE)
        with pytest.raises(ClusterError, match=r"no more than 1 workers will come: worker none-"):
            cluster.wait_for(workers=2)
        assert len(cluster.wait_for(workers=1)) == 1


@pytest.mark.slow
def test_worker_that_is_unwanted_leaves_and_does_not_come_back() -> None:
    provider = Scripted()
    with Cluster.start(provider, workers=2) as cluster:
        fleet = fleet_of(cluster)
        both = cluster.wait_for(workers=2, timeout=PATIENCE)
        [unwanted] = [psutil.Process(each.pid) for each in both if each.name == "local-1"]
        fleet.stop(["local-1"])
        assert psutil.wait_procs([unwanted], PATIENCE)[1] == []
        assert provider.starts.acquire(timeout=PATIENCE)  # that of both
        fleet.start(1)
        assert provider.starts.acquire(timeout=PATIENCE)
        cluster.wait_for(workers=2, timeout=PATIENCE)
        assert provider.started == ["local-1", "local-2", "local-3"]


@pytest.mark.slow
def test_nobody_comes_in_time_says_who_is_there() -> None:
    class Full(Scripted):
        def start(self, command: Command, count: int) -> list[str]:
            self._said["none"] = Pending("no room")
            return ["none"]

    with pytest.raises(TimeoutError, match=r"1 worker expected within 0.1 s, but 0 came"):
        Cluster.start(Full(), workers=1, timeout=0.1)


@pytest.mark.slow
def test_killed_worker_is_the_reason_of_the_loss_and_is_followed_by_another() -> None:
    with Cluster.start(Local(), workers=1) as cluster:
        [first] = cluster.wait_for(workers=1)
        run = cluster.submit(io.sleep(PATIENCE), None, snapshots="off")
        os.kill(first.pid, signal.SIGKILL)
        result = run.result(PATIENCE)
        assert isinstance(result, Panic)
        lost = result.exceptions[0].exception
        assert isinstance(lost, WorkerLost)
        assert lost.reason.startswith("local-1: killed by SIGKILL")
        [second] = cluster.wait_for(workers=1, timeout=PATIENCE)
        assert second.name == "local-2"


@pytest.mark.slow
def test_worker_whose_place_is_taken_away_is_drained() -> None:
    provider = Scripted()
    with Cluster.start(provider, workers=1) as cluster:
        run = cluster.submit(io.sleep(2).map(lambda _: "slept"), None)
        provider.is_leaving.set()
        assert provider.has_stopped.wait(PATIENCE)
        assert provider.stopped == [("local-1", 7.0)]
        assert run.result(PATIENCE) == Ok("slept")


@pytest.mark.slow
def test_provider_can_start_the_workers_of_one_cluster_after_another() -> None:
    provider = Local()
    for name in ("local-1", "local-2"):
        with Cluster.start(provider, workers=1) as cluster:
            assert [each.name for each in cluster.wait_for(workers=1)] == [name]


@pytest.mark.slow
def test_killed_program_leaves_no_worker() -> None:
    code = (
        "import sys; from distio import Cluster; from distio.providers import Local;"
        "cluster = Cluster.start(Local(), workers=1); print('up', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        children = psutil.Process(program.pid).children(recursive=True)
        assert len(children) == 3  # the coordinator, its fork server, and the worker
        program.kill()
        _, alive = psutil.wait_procs(children, PATIENCE)
    assert alive == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"provider": "node1"}, "expected a provider of hosts"),
        ({"workers": 0}, "Cluster.start, workers: expected a number from 1"),
        ({"threads": "2"}, "Cluster.start, threads: expected a number from 1"),
        ({"patience": -1}, "Cluster.start, patience"),
        ({"timeout": 0}, "Cluster.start, timeout"),
        ({"snapshots": "yes"}, "snapshots"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_started(
    arguments: dict[str, Any], complaint: str
) -> None:
    good: dict[str, Any] = {"provider": SSH(["node1"], program="/no/ssh"), "workers": 1}
    with pytest.raises(MatchError, match=complaint):
        Cluster.start(**{**good, **arguments})
