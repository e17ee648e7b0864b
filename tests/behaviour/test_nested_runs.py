"""Nested runs: a function of a fiber runs a program, and is cancelled with the fiber.

A function that has captured a cluster can't leave its process; the root, which is at home,
may capture one.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distio import IO, Cluster, Ok, Panic, io
from distio.coordination.member import Member
from distio.errors import Cancelled, NotPicklable
from distio.protocol import messages as m
from tests.conftest import PATIENCE, shared_cluster
from tests.harness.running_scripts import Script, no_script_is_left

__all__ = ["no_script_is_left"]

INNER: IO[Any, Any, list[int]] = io.zip_par([io.defer(abs, -n) for n in range(3)])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster with a single thread everywhere."""
    with Cluster.local(workers=1) as cluster:
        yield cluster


def pool_threads() -> int:
    return sum(thread.name.startswith("distio-client") for thread in threading.enumerate())


def nested_ways(cluster: Cluster) -> dict[str, Callable[[], Any]]:
    """Ways of waiting for a run, in a function."""
    return {
        "run on the cluster": lambda: INNER.run(None, on=cluster),
        "method of the cluster": lambda: cluster.run(INNER, None),
        "submitted run": lambda: cluster.submit(INNER, None).result(),
        "run in process": lambda: INNER.run(None),
        "run in process on several threads": lambda: INNER.run(None, 3),
        "run in a run": lambda: (
            io.defer(lambda: INNER.run(None, on=cluster)).run(None).unsafe_get()
        ),
        "thread in a run": lambda: (
            io.blocking(lambda: INNER.run(None, on=cluster)).run(None).unsafe_get()
        ),
        "asyncio": lambda: asyncio.run(INNER.run_async(None, on=cluster)),
    }


@pytest.mark.slow
def test_nested_run_on_a_single_thread_works_and_threads_are_as_many_as_before(
    cluster: Cluster,
) -> None:
    before = pool_threads()
    for name, nested in nested_ways(cluster).items():
        assert io.defer(nested).run(None, on=cluster) == Ok(Ok([0, 1, 2])), name
        assert io.defer(nested).run(None) == Ok(Ok([0, 1, 2])), name
    both = [io.defer(nested) for nested in nested_ways(cluster).values()]
    assert io.zip_par(both).run(None, on=cluster) == Ok([Ok([0, 1, 2])] * len(both))
    assert io.defer(deep, cluster, 30).run(None, on=cluster) == Ok(30)
    assert INNER.run(None, on=cluster) == Ok([0, 1, 2])
    for thread in threading.enumerate():
        if thread.name == "distio-client-stand-in" and pool_threads() > before:
            thread.join(10)
    assert pool_threads() == before


def deep(cluster: Cluster, depth: int) -> int:
    if depth == 0:
        return 0
    inner = io.zip_par(io.defer(deep, cluster, depth - 1)).map(sum)
    return 1 + inner.run(None, on=cluster).unsafe_get()


def connects(url: str, way: str) -> Any:
    with Cluster.connect(url) as own:
        return nested_ways(own)[way]()


@pytest.mark.slow
def test_nested_run_of_a_task_on_the_only_worker_works(cluster: Cluster) -> None:
    assert cluster._processes is not None
    url = cluster._processes.url
    for way in nested_ways(cluster):
        task = io.defer(connects, url, way)
        assert cluster.submit(task, None).result(timeout=60) == Ok(Ok([0, 1, 2])), way


def test_nested_run_is_advised_against_once(caplog: pytest.LogCaptureFixture) -> None:
    cluster = shared_cluster()
    cluster._host._has_advised = False
    nested = io.defer(lambda: INNER.run(None, on=cluster))
    with caplog.at_level(logging.WARNING, logger="distio"):
        io.zip(nested, nested, nested).run(None, on=cluster)
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "it costs less to return the program, to flat_map or defer_io, or to await it"
    )


# -- cancellation -----------------------------------------------------------------------------


class Nested:
    """A nested run that goes on until it is cancelled."""

    def __init__(self, **where: Any) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()
        self.result: Any = None
        begins = io.defer(self.begun.set).then(io.sleep(1_000_000))
        self.inner = begins.finally_(lambda _: io.defer(self.released.set))
        self.where = where
        self.program = io.defer(self.run)

    def run(self) -> None:
        self.result = self.inner.run(None, **self.where)

    def has_been_cancelled(self) -> bool:
        """Whether the run has released everything, and its Result says that it was cancelled."""
        assert self.released.wait(10)
        assert isinstance(self.result, Panic)
        return isinstance(self.result.exceptions[0].exception, Cancelled)


PLACES = ["here", "threads", "cluster"]


def where(place: str) -> dict[str, Any]:
    places: dict[str, dict[str, Any]] = {"here": {}, "threads": {"pool_size": 2}}
    return places[place] if place in places else {"on": shared_cluster()}


@pytest.mark.parametrize("outer", PLACES)
@pytest.mark.parametrize("inner", PLACES)
def test_nested_run_is_cancelled_with_the_run_of_its_fiber(outer: str, inner: str) -> None:
    nested = Nested(**where(inner))

    async def cancels() -> None:
        task = asyncio.create_task(nested.program.run_async(None, **where(outer)))
        await asyncio.to_thread(nested.begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancels())
    assert nested.has_been_cancelled()


@pytest.mark.parametrize("outer", ["threads", "cluster"])
@pytest.mark.parametrize("inner", PLACES)
def test_nested_run_is_cancelled_with_its_fiber(outer: str, inner: str) -> None:
    nested = Nested(**where(inner))
    begun = io.blocking(nested.begun.wait)
    program = io.parallel(nested.program).flat_map(lambda fibers: begun.then(fibers[0].cancel()))
    program.run(None, **where(outer)).unsafe_get()
    assert nested.has_been_cancelled()


def test_nested_run_of_a_nested_run_is_cancelled_with_the_outermost() -> None:
    nested = Nested(on=shared_cluster())
    middle = io.defer(lambda: nested.program.run(None))
    begun = io.blocking(nested.begun.wait)
    program = io.parallel(middle).flat_map(lambda fibers: begun.then(fibers[0].cancel()))
    program.run(None, on=shared_cluster()).unsafe_get()
    assert nested.has_been_cancelled()


def test_nested_run_of_an_uncancelable_fiber_goes_on_to_its_end() -> None:
    begun, may_end = threading.Event(), threading.Event()
    inner = io.defer(begun.set).then(io.blocking(may_end.wait), io.pure("whole"))
    results: list[Any] = []
    shielded = io.uncancelable(io.defer(lambda: results.append(inner.run(None))))

    def cancels(fiber: Any) -> IO[Any, Any, Any]:
        return io.blocking(begun.wait).then(fiber.cancel_soon(), io.defer(may_end.set))

    io.parallel(shielded).flat_map(lambda fibers: cancels(fibers[0])).run(None, 2).unsafe_get()
    assert results == [Ok("whole")]


@pytest.mark.slow
@pytest.mark.parametrize("outer", ["run(None)", "run(None, 2)", "run(None, on=cluster)"])
def test_ctrl_c_cancels_the_run_on_a_cluster_in_a_fiber(outer: str) -> None:
    script = Script(
        "with Cluster.local(workers=1) as cluster: "
        f"io.zip_par([io.defer(lambda: waits.run(None, on=cluster))]).{outer}"
    )
    script.says("started")
    script.interrupt()
    assert script.ends() == ("released\n", "KeyboardInterrupt")


# -- the machine ------------------------------------------------------------------------------


class Stop:
    """A function that stops a nested run, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def fiber_in_hand() -> tuple[Member, Any, Stop]:
    member = Member(1)
    fiber = member.start_root(io.pure(1), None)
    member.state.stepping = 1
    return member, fiber, Stop()


def test_nested_run_is_stopped_once_when_the_run_of_its_fiber_is_cancelled() -> None:
    member, fiber, stop = fiber_in_hand()
    member.features.cancellation.watch(fiber, stop)
    assert stop.calls == 0
    member.receive(m.RunCancelled(fiber.run))
    member.receive(m.RunCancelled(fiber.run))
    assert stop.calls == 1


def test_nested_run_is_stopped_at_once_if_its_fiber_is_cancelled_already() -> None:
    member, fiber, stop = fiber_in_hand()
    member.receive(m.RunCancelled(fiber.run))
    member.features.cancellation.watch(fiber, stop)
    assert stop.calls == 1


def test_nested_run_is_stopped_when_the_run_of_its_fiber_is_gone() -> None:
    member, fiber, stop = fiber_in_hand()
    member.features.cancellation.watch(fiber, stop)
    member.features.cancellation.run_ended(member.state.runs[fiber.run])
    assert stop.calls == 1


@pytest.mark.parametrize("shield", ["exempt_from_run_cancel", "shield"])
def test_nested_run_is_not_stopped_for_a_fiber_that_cannot_be_cancelled(shield: str) -> None:
    member, fiber, stop = fiber_in_hand()
    setattr(fiber, shield, 1)
    member.features.cancellation.watch(fiber, stop)
    member.receive(m.RunCancelled(fiber.run))
    assert stop.calls == 0


def test_nested_run_is_not_stopped_for_a_fiber_that_waits_no_longer() -> None:
    member, fiber, stop = fiber_in_hand()
    member.features.cancellation.watch(fiber, stop)
    member.features.cancellation.unwatch(fiber)
    member.receive(m.RunCancelled(fiber.run))
    assert stop.calls == 0


def test_function_with_a_nested_run_within_other_calls_is_stopped_with_both() -> None:
    member, fiber, calls = fiber_in_hand()
    nested = Stop()
    member.features.cancellation.watch(fiber, calls)
    member.features.cancellation.watch(fiber, nested)
    member.receive(m.RunCancelled(fiber.run))
    assert (calls.calls, nested.calls) == (1, 1)


def test_calls_are_stopped_when_the_nested_run_of_one_of_them_is_over() -> None:
    member, fiber, calls = fiber_in_hand()
    nested = Stop()
    member.features.cancellation.watch(fiber, calls)
    member.features.cancellation.watch(fiber, nested)
    member.features.cancellation.unwatch(fiber)
    member.receive(m.RunCancelled(fiber.run))
    assert (calls.calls, nested.calls) == (1, 0)
    member.features.cancellation.unwatch(fiber)
    assert not member.features.cancellation.leftovers()["fibers that wait for nested runs"]


# -- objects that don't travel ----------------------------------------------------------------


def test_cluster_and_run_handle_say_why_they_are_not_pickled() -> None:
    cluster = shared_cluster()
    with pytest.raises(
        NotPicklable, match=r"^a Cluster belongs to the process that made it; return "
    ):
        pickle.dumps(cluster)
    run = cluster.submit(io.pure(1), None)
    with pytest.raises(
        NotPicklable, match=r"^a RunHandle belongs to the process that has submitted"
    ):
        pickle.dumps(run)
    assert run.result() == Ok(1)


def test_fiber_that_has_captured_a_cluster_stays_and_the_warning_names_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    captured = shared_cluster()
    captured._host._warned.clear()

    def uses() -> bool:
        return captured is not None

    with caplog.at_level(logging.WARNING, logger="distio"):
        assert io.zip_par(io.defer(uses)).run(None, on=captured) == Ok((True,))
    (record,) = caplog.records
    told = record.getMessage()
    assert "captured variable 'captured': a Cluster belongs to the process that made it; " in told
    assert "lock" not in told


# -- fibers that connect to the cluster that they run on ---------------------------------------


def connect_and_wait(url: str) -> Any:
    with Cluster.connect(url) as cluster:
        return cluster.submit(io.zip_par(io.pure(1), io.pure(2)), None).result()


CONNECTING: dict[str, Callable[[str], Any]] = {
    "many at a time": lambda url: io.zip_par([io.defer(connect_and_wait, url)] * 6),
    "in blocking calls": lambda url: io.zip_par([io.blocking(connect_and_wait, url)] * 6),
    "in async_": lambda url: io.async_(lambda _, call: call(Ok(connect_and_wait(url)))),
    "in a release": lambda url: io.pure(1).finally_(lambda _: io.defer(connect_and_wait, url)),
    "on the main thread": lambda url: io.on_main_thread(connect_and_wait, url),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", CONNECTING)
def test_fibers_that_wait_for_runs_leave_their_worker_room_for_them(how: str) -> None:
    with Cluster.local(workers=1) as cluster:
        assert cluster._processes is not None
        program = CONNECTING[how](cluster._processes.url)
        assert cluster.submit(program, None).result(PATIENCE).is_ok()
        assert cluster.submit(io.pure("goes on"), None).result(PATIENCE) == Ok("goes on")
