"""A local cluster that starts and stops workers as its load changes."""

from __future__ import annotations

import pytest

from distio import Barrier, Cluster, MemberStatus, Ok, Worker, io
from distio.protocol.messages.roster import ListMembers, MembersListed
from tests.conftest import PATIENCE


def names(members: list[MemberStatus]) -> list[str]:
    return sorted(each.name for each in members if each.kind == "worker")


def changed(cluster: Cluster, mark: str) -> MembersListed:
    """The members, when something has changed since this mark."""
    questions = cluster._host.questions
    answer = questions.ask(lambda number: ListMembers(number, 0, mark), timeout=PATIENCE)
    assert isinstance(answer, MembersListed)
    return answer


@io.do
async def meet() -> int:
    """Three fibers meet, each of which has a worker for itself."""
    barrier = await Barrier.create(3)

    def comes(n: int) -> io.IO[object, object, int]:
        return io.placed(barrier.wait().then(io.pure(n)), needs={"slot": 1})

    return sum(await io.traverse_par(range(3), comes))


@pytest.mark.slow
def test_cluster_grows_for_fibers_that_wait_and_shrinks_when_workers_are_idle() -> None:
    with Cluster.local([Worker(resources={"slot": 1})]) as cluster:
        first = names(cluster.members())
        cluster.adapt(1, 3, idle_seconds=0.2)
        assert cluster.submit(meet(), None).result(timeout=PATIENCE) == Ok(3)
        assert len(first) == 1
        assert len(names(cluster.members())) == 3
        listed = changed(cluster, "")
        while sum(each.kind == "worker" for each in listed.members) > 1:
            listed = changed(cluster, listed.mark)
        assert io.pure(5).run(None, on=cluster) == Ok(5)


@pytest.mark.slow
def test_members_of_a_local_cluster_have_the_names_that_they_were_given() -> None:
    with Cluster.local([Worker(name="gpu", tags={"zone": "a"})] * 2) as cluster:
        workers = cluster.wait_for(workers=2, timeout=PATIENCE)
        assert names(workers) == ["gpu-1", "gpu-2"]
        assert "zone=a" in repr(workers[0])
        cluster._processes.workers[0].kill()  # type: ignore[union-attr]  # it is a local cluster
        with pytest.raises(TimeoutError, match=r"^9 workers expected within 0\.1 s, but"):
            cluster.wait_for(workers=9, timeout=0.1)
        assert names(cluster.wait_for(workers=2, timeout=PATIENCE)) == ["gpu-1", "gpu-2"]
