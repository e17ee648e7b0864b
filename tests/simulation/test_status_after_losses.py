"""The status of a fiber tells how often it has gone on elsewhere, and why it had to."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Ok, io
from distio.core.status import Status
from distio.testing import Crash, simulate

LOST = "killed by SIGKILL"


def observed() -> IO[Any, Any, Status]:
    """A fiber sleeps on a worker, and the client asks after it."""

    def ask(fibers: list[Any]) -> IO[Any, Any, Status]:
        return io.sleep(0.9).then(fibers[0].status())

    return io.parallel(io.sleep(1.0)).flat_map(ask)


@pytest.mark.parametrize("crashes", [0, 1, 2])
def test_status_tells_how_often_a_fiber_was_restored_and_the_last_reason(crashes: int) -> None:
    faults = [Crash("worker-1", at=0.2 + 0.2 * n, returns_after=0.1) for n in range(crashes)]
    result = simulate(observed, members=1, faults=faults, latency=0.001).result
    assert isinstance(result, Ok), result
    status = result.success
    assert status.restored == crashes
    if crashes:
        assert status.last_loss is not None
        assert status.last_loss.endswith(f" was lost: {LOST}")
    else:
        assert status.last_loss is None


def test_member_of_a_restored_fiber_knows_it_by_itself() -> None:
    def program() -> IO[Any, Any, Any]:
        # both are on the worker; the handle of the other travels with the one that asks
        sleeper = io.parallel(io.sleep(1.0))
        return sleeper.flat_map(lambda made: io.zip_par(io.sleep(0.5).then(made[0].status())))

    fault = Crash("worker-1", at=0.2, returns_after=0.1)
    simulation = simulate(program, members=1, faults=[fault], latency=0.001)
    assert isinstance(simulation.result, Ok), simulation.result
    (status,) = simulation.result.success
    assert (status.state, status.restored) == ("sleeps", 1)
    assert any(line.endswith("goes on from its snapshot") for line in simulation.history)
