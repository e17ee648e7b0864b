"""The roster: which members there are, and waits until there are enough."""

from __future__ import annotations

from distio.protocol import messages as m
from distio.protocol.messages.roster import ListMembers, MembersListed, WithdrawListing
from tests.harness.coordinators import Commands, Scene


def heard(commands: Commands) -> list[tuple[int, list[int]]]:
    """By member that is answered: which members it is told of."""
    answers = [(to, each) for to, each in commands if isinstance(each, MembersListed)]
    return [(to, [member.id for member in answer.members]) for to, answer in answers]


def test_members_are_listed_as_they_have_joined_with_their_fibers() -> None:
    scene = Scene(workers=1)
    scene.starts(fibers=3)
    scene.now = 7.0
    ((to, answer),) = scene.says(1, ListMembers(5))
    assert isinstance(answer, MembersListed)
    assert (to, answer.question) == (1, 5)
    client, worker = answer.members
    assert (client.kind, client.fibers, client.age_seconds) == ("client", 3, 7.0)
    assert (worker.kind, worker.name, worker.fibers) == ("worker", "host-1002", 0)


def test_wait_for_workers_is_answered_when_the_last_of_them_joins() -> None:
    scene = Scene(workers=1)
    assert heard(scene.says(1, ListMembers(1, 3))) == []
    scene.join("worker")
    assert heard(scene.commands) == []
    scene.join("worker")
    assert heard(scene.commands) == [(1, [1, 2, 3, 4])]
    scene.join("worker")
    assert heard(scene.commands) == []


def test_worker_that_leaves_is_none_of_those_that_are_waited_for() -> None:
    scene = Scene(workers=2)
    scene.says(2, m.Leaving(9.0))
    assert heard(scene.says(1, ListMembers(1, 2))) == []
    scene.breaks(2)
    scene.join("worker")
    assert heard(scene.commands) == [(1, [1, 3, 4])]


def test_wait_that_is_withdrawn_or_whose_member_is_lost_is_forgotten() -> None:
    scene = Scene()
    other = scene.join("client")
    scene.says(1, ListMembers(1, 1))
    scene.says(1, WithdrawListing(1))
    scene.says(other, ListMembers(1, 1))
    scene.breaks(other)
    scene.join("worker")
    assert heard(scene.commands) == []
    scene.says(1, WithdrawListing(1))
    assert scene.machine.stale == 1


def test_worker_is_told_to_leave_by_its_name() -> None:
    scene = Scene(workers=2)
    assert scene.says(1, m.DrainMember("host-1003", 5.0))[0][0] == 3
