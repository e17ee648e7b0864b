"""Fibers that sleep for long on real processes: they leave their workers, and can be cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from distio import IO, Cluster, Ok, Panic, Queue, io
from distio.errors import Cancelled

Program = IO[Any, Any, Any]

COUNT = 30
LARGE = 20_000


def sleeper(n: int, released: Queue[int]) -> Program:
    """A fiber that takes along more bytes than the coordinator is to keep in memory."""
    captured = bytes([n % 256]) * LARGE + str(n).encode()

    def release(_: Any) -> Program:
        return released.put(int(captured[LARGE:]))

    program: Program = io.sleep(3600).finally_(release)
    return program


def until_away(fibers: Sequence[Any]) -> Program:
    """Wait until no worker has any of these fibers."""

    def look(fiber: Any) -> Program:
        def unless_away(status: Any) -> Program:
            if (status.state, status.where) == ("sleeps", None):
                return io.pure(None)
            return io.sleep(0.05).then(io.defer_io(look, fiber))

        asked: Program = fiber.status().flat_map(unless_away)
        return asked

    return io.zip([look(fiber) for fiber in fibers])


def main() -> Program:
    """Sleepers are put away, cancelled, and release what they have."""

    def work(released: Queue[int]) -> Program:
        begun = io.parallel([sleeper(n, released) for n in range(COUNT)])

        def stop(fibers: Sequence[Any]) -> Program:
            cancelled = io.zip_par([fiber.cancel() for fiber in fibers])
            numbers = io.zip([released.take()] * COUNT).map(sorted)
            return until_away(fibers).then(io.zip(cancelled, numbers))

        return begun.flat_map(stop)

    return Queue.create().flat_map(work)


@pytest.mark.slow
def test_fibers_that_sleep_for_long_leave_their_worker_and_release_when_cancelled() -> None:
    with Cluster.local(workers=2, snapshot_memory=100_000) as cluster:
        result = cluster.submit(main(), None).result(timeout=60)
    assert isinstance(result, Ok), result
    results, numbers = result.success
    assert numbers == [*range(COUNT)]
    assert all(isinstance(each, Panic) for each in results)
    assert {type(each.exceptions[0].exception) for each in results} == {Cancelled}
