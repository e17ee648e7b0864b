"""The types that checkers infer of `running`: nothing here runs."""

from __future__ import annotations

from typing import assert_type

from distio import (
    IO,
    Cluster,
    MemberStatus,
    NamedRun,
    Result,
    RunHandle,
    RunStatus,
    Worker,
    io,
)
from distio.testing import (
    Exploration,
    History,
    Simulation,
    explore,
    simulate,
)


def running(five: IO[int, str, int], cluster: Cluster, run: RunHandle[str, int]) -> None:
    assert_type(five.run(1), Result[str, int])
    assert_type(five.run(1, has={"gpu": 2, "zone": "a"}), Result[str, int])
    assert_type(Cluster.local(workers=2), Cluster)
    assert_type(Cluster.connect("ipc:///tmp/x"), Cluster)
    assert_type(Cluster.local([Worker(2, "gpu", {"zone": "a"}, {"gpu": 1})]), Cluster)
    cluster.adapt(1, 4, idle_seconds=1.5)
    assert_type(cluster.members(), list[MemberStatus])
    assert_type(cluster.url, str)
    assert_type(cluster.wait_for(workers=2, timeout=1.5), list[MemberStatus])
    assert_type(io.placed(five, {"gpu": 1, "zone": "a"}), IO[int, str, int])
    assert_type(io.placed(five, needs={"gpu": 0.5}, prefer={"disk": "ssd"}), IO[int, str, int])
    assert_type(cluster.run(five, 1), Result[str, int])
    assert_type(cluster.submit(five, 1), RunHandle[str, int])
    cluster.close()
    assert_type(run.result(), Result[str, int])
    assert_type(run.done(), bool)
    run.cancel()


def durable(five: IO[int, str, int], cluster: Cluster) -> None:
    run = cluster.submit(five, 1, name="five", keep_for=60.0)
    assert_type(run, NamedRun[str, int])
    assert_type(run.result(), Result[str, int])
    assert_type(run.status(), RunStatus)
    assert_type(run.name, str)
    assert_type(cluster.attach("five").name, str)
    assert_type(cluster.runs(), list[RunStatus])
    assert_type(cluster.cancel("five"), RunStatus)
    assert_type(cluster.forget("five"), RunStatus)


def testing(five: IO[int, str, int], simulation: Simulation[str, int]) -> None:
    assert_type(simulate(five, 1), Simulation[str, int])
    assert_type(explore(five, 1), Exploration)
    assert_type(simulation.result, Result[str, int] | None)
    assert_type(simulation.history, History)
    assert_type(simulation.virtual_seconds, float)
    assert_type(simulation.steps, int)
    assert_type(simulation.messages, int)


async def from_asyncio(five: IO[int, str, int]) -> None:
    assert_type(await five.run_async(1), Result[str, int])
