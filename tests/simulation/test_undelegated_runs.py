"""Runs that delegate nothing: members ask for each turn at a lock and each item of a queue."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Ok, Queue, Resource, Var, io, resource
from distio.coordination import coordinator as coordinator_machine
from distio.coordination.runs.coordinator import Runs as DelegatingRuns
from distio.coordination.state.members import MemberRecord
from distio.protocol import messages as m
from distio.testing import simulate

Program = IO[Any, Any, Any]

SEEDS = range(6)


class Runs(DelegatingRuns):
    """No run may delegate."""

    def start_run(self, sender: MemberRecord, message: m.StartRun) -> None:
        super().start_run(sender, message)
        self._state.runs[message.run].may_delegate = False


def counted() -> Program:
    """Six fibers add one each to a variable, two of them at a time."""

    def add(sem: Resource[Any, Any, None], var: Var[int]) -> Program:
        return sem.with_(io.yield_.then(var.update(lambda n: (n + 1, None))))

    made = io.zip(resource.semaphore(2), Var.create(0))
    return made.flat_map(lambda both: io.zip_par([add(*both)] * 6).then(both[1].get()))


@io.do
async def handed_over() -> int:
    """The number of items that two fibers take from a queue without limit."""
    queue = await Queue.create()

    @io.do
    async def takes() -> int:
        return len([item async for item in queue])

    takers = [takes() for _ in range(2)]
    puts = io.sequence([*[queue.put(n) for n in range(6)], queue.close()])
    return sum((await io.zip_par(puts, *takers))[1:])


@pytest.mark.parametrize("program", [counted(), handed_over()], ids=["locks", "queue"])
@pytest.mark.parametrize("may_delegate", [True, False])
def test_run_has_its_result_whether_or_not_it_may_delegate(
    program: Program, may_delegate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not may_delegate:
        monkeypatch.setattr(coordinator_machine, "Runs", Runs)
    simulations = [simulate(program, seed=seed) for seed in SEEDS]
    assert [each.result for each in simulations] == [Ok(6)] * len(SEEDS)
    said = "\n".join(line for each in simulations for line in each.history)
    assert any(word in said for word in ("RecallTokens", "DelegatedPut")) is may_delegate
