"""Workers of real clusters that are lost: what is seen of it, and who is to blame."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from typing import Any

import pytest

from distio import IO, Cluster, Ok, Panic, io
from distio.errors import ProcessExit, WorkerLost

pytestmark = pytest.mark.slow

INNOCENT = 10


def killed() -> None:
    print("the last words")
    os.kill(os.getpid(), signal.SIGKILL)


def crashed() -> None:
    sys.stderr.write("the last words")
    sys.stderr.flush()
    ctypes.string_at(0)


def exited() -> None:
    print("\n".join(map(str, range(100))))
    print("the last words", end="", flush=True)
    os._exit(3)


async def killed_on_the_loop() -> None:
    await asyncio.sleep(0.01)
    killed()


async def awaits() -> int:
    await asyncio.sleep(0.2)
    return 1


def lost_beside_others(poison: IO[Any, Any, Any], others: list[IO[Any, Any, Any]]) -> WorkerLost:
    """Run a program that ends its workers beside others, which have their Results."""
    with Cluster.local(workers=2) as cluster:
        program = io.parallel(poison.named("poison"), *others).flat_map(io.wait)
        result = program.run(None, on=cluster)
    assert isinstance(result, Ok), result
    ended, *rest = result.success
    assert all(isinstance(each, Ok) for each in rest), rest
    assert isinstance(ended, Panic)
    lost = ended.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert "3 workers were lost while the fiber ran there" in lost.reason
    return lost


def innocent() -> IO[Any, Any, Any]:
    return io.defer(time.sleep, 0.02).then(io.sleep(0.02)).then(io.defer(os.getpid))


@pytest.mark.parametrize(
    ("poison", "exit_code", "by_signal"),
    [
        (io.defer(killed), None, "SIGKILL"),
        (io.blocking(killed), None, "SIGKILL"),
        (io.defer(exited), 3, None),
        (io.defer(crashed), None, "SIGSEGV"),
    ],
    ids=["killed", "killed in another thread", "exited", "crashed"],
)
def test_fiber_that_ends_each_worker_is_lost_alone_and_told_how(
    poison: IO[Any, Any, Any], exit_code: int | None, by_signal: str | None
) -> None:
    lost = lost_beside_others(poison, [innocent() for _ in range(INNOCENT)])
    exit = lost.exit
    assert isinstance(exit, ProcessExit)
    assert (exit.exit_code, exit.signal) == (exit_code, by_signal)
    assert not exit.out_of_memory
    assert exit.running
    assert any(label.endswith(" (poison)") for label in exit.running)
    assert exit.memory is not None
    assert exit.memory > 2**20
    assert exit.output[-1] == "the last words"
    assert len(exit.output) <= 20
    assert (" in crashed" in exit.stack) is (by_signal == "SIGSEGV")


def test_coroutine_that_ends_each_worker_is_lost_and_those_that_await_are_not() -> None:
    others = [io.from_coroutine(awaits) for _ in range(INNOCENT)]
    lost = lost_beside_others(io.from_coroutine(killed_on_the_loop), others)
    assert lost.exit is not None
    assert [label.partition(" ")[2] for label in lost.exit.running] == ["(poison)"]


def test_cluster_may_lose_a_fiber_with_the_first_worker() -> None:
    with Cluster.local(workers=1, max_losses=1) as cluster:
        result = io.zip_par(io.defer(exited)).run(None, on=cluster)
    assert isinstance(result, Panic)
    lost = result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert "1 worker was lost while the fiber ran there" in lost.reason
