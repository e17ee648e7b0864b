"""File descriptors are closed by the objects that open them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from distio import Cluster
from distio.errors import ClusterError
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.waking import Waker
from tests.conftest import shared_cluster


def opened() -> int:
    """The number of descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def coordinator() -> Iterator[str]:
    process = CoordinatorProcess("tcp://127.0.0.1:0", CoordinatorOptions(is_insecure=True))
    thread = threading.Thread(target=process.run)
    thread.start()
    yield process.url
    process.stop()
    thread.join()


@pytest.mark.slow
def test_clusters_that_are_closed_leave_no_descriptor() -> None:
    processes = shared_cluster()._processes
    assert processes is not None
    clusters = []  # kept: descriptors don't wait for the collection of garbage
    for _ in range(21):
        clusters.append(Cluster.connect(processes.url))
        clusters[-1].close()
        if len(clusters) == 1:
            before = opened()
    # one for each cluster would be 20 more; ZeroMQ closes its own a moment after the call
    assert opened() < before + 20


@pytest.mark.slow
def test_local_cluster_that_is_closed_leaves_no_descriptor() -> None:
    clusters = [Cluster.local(workers=1)]
    clusters[0].close()
    before = opened()
    for _ in range(3):
        clusters.append(Cluster.local(workers=1))
        clusters[-1].close()
    assert opened() == before


def test_coordinator_that_ends_leaves_no_descriptor() -> None:
    before = opened()
    processes = []
    for _ in range(3):
        process = CoordinatorProcess("tcp://127.0.0.1:0", CoordinatorOptions(is_insecure=True))
        process.stop()
        process.run()
        processes.append(process)
    assert opened() == before


def test_coordinator_that_cannot_listen_leaves_no_descriptor(coordinator: str) -> None:
    before = opened()
    with pytest.raises(ClusterError) as refused:
        CoordinatorProcess(coordinator, CoordinatorOptions(is_insecure=True))
    assert opened() == before
    del refused


def test_waker_that_is_closed_wakes_no_other_reader() -> None:
    waker = Waker()
    reader = waker.reader
    waker.close()
    other_reader, other_writer = os.pipe()  # these may have got the same numbers
    assert other_reader == reader
    os.set_blocking(other_reader, False)
    waker.wake()
    waker.close()
    with pytest.raises(BlockingIOError):
        os.read(other_reader, 1)
    os.close(other_reader)
    os.close(other_writer)


@pytest.mark.slow
def test_waker_that_is_full_wakes_all_the_same() -> None:
    waker = Waker()
    for _ in range(100_000):
        waker.wake()
    waker.clear()
    waker.close()
