"""The index of workers chooses as if it looked at all of them."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.coordination.placement.worker_index import WorkerIndex
from distio.coordination.state.members import AHEAD, MemberRecord
from distio.protocol import messages as m
from distio.protocol.version import PROTOCOL, PYTHON


def worker(id: int, threads: int) -> MemberRecord:
    return MemberRecord(id, m.Hello(PROTOCOL, PYTHON, "worker", threads, "host", id, b""))


def least_loaded(members: dict[int, MemberRecord]) -> MemberRecord | None:
    """The choice, by looking at all."""
    takers = [each for each in members.values() if each.has_room]
    return min(takers, key=lambda each: (each.load / each.hello.threads, each.id), default=None)


def victim(members: dict[int, MemberRecord]) -> tuple[MemberRecord, int] | None:
    """The choice, by looking at all."""
    idle = [each for each in members.values() if each.is_staying and not each.load]
    givers = [
        each
        for each in members.values()
        if each.load > each.hello.threads
        and not (each.was_asked_to_share or each.nothing_to_steal or each.is_gone)
    ]
    if not (idle and givers):
        return None
    most = min(givers, key=lambda each: (-each.load, each.id))
    return most, (most.load - most.hello.threads + 1) // 2


steps = st.tuples(
    st.sampled_from(["reports", "reports", "reports", "joins", "is lost", "leaves", "is asked"]),
    st.integers(0, 4),
    st.integers(0, 6),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40))
def test_worker_index_after_any_changes_chooses_as_if_it_looked_at_all(
    changes: list[tuple[str, int, int]],
) -> None:
    members: dict[int, MemberRecord] = {}
    index = WorkerIndex(members)
    for count, (change, which, number) in enumerate(changes):
        found = [*members.values()][which : which + 1]
        if change == "joins":
            index.note(members.setdefault(count, worker(count, 1 + number % 3)))
        for member in found:
            if change == "reports":
                member.update(m.Progress(0, number, []))
                member.was_asked_to_share = False
                index.note(member)
            elif change == "is lost":
                del members[member.id]
            elif change == "leaves":  # nothing is noted of what only takes less
                member.is_leaving = True
            elif change == "is asked":
                member.was_asked_to_share = True
        assert index.least_loaded(lambda each: each.is_staying, AHEAD) is least_loaded(members)
        assert index.victim() == victim(members)


@pytest.mark.slow
def test_worker_index_of_many_reports_stays_small() -> None:
    members = {id: worker(id, 1) for id in range(10)}
    index = WorkerIndex(members)
    sizes = []
    for number in range(2_000):
        member = members[number % 10]
        member.update(m.Progress(0, number % 7, []))
        index.note(member)
        sizes.append(len(pickle.dumps(index)))
    assert max(sizes) < 2 * max(sizes[:200])
