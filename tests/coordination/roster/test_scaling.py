"""How many workers are started and stopped, as a load changes."""

from __future__ import annotations

from typing import Any

from distio.coordination.roster.scaling import Bounds, Decision, Scaling
from distio.protocol.messages.placement import Needs
from distio.protocol.messages.roster import ListedMember, MembersListed


def worker(name: str, fibers: int = 0, ready: int = 0, **has: Any) -> ListedMember:
    given = {"threads": 2, "tags": {}, "resources": {}, "is_leaving": False, **has}
    return ListedMember(
        id=int(name[1:] or 0),
        name=name,
        kind="worker",
        host="host",
        pid=1,
        fibers=fibers,
        ready=ready,
        age_seconds=0.0,
        **given,
    )


def scaling(minimum: int = 1, maximum: int = 4, **has: Any) -> Scaling:
    return Scaling(Bounds(minimum, maximum, 10.0, 60.0, worker("w", **has)))


def load(*workers: ListedMember, waiting: int = 0, placed: Any = ()) -> MembersListed:
    return MembersListed(0, [*workers], waiting, [*placed])


BUSY, FULL = worker("w1", 5, 2), worker("w2", 9, 9)


def test_minimum_is_started_and_those_that_do_not_join_are_started_again() -> None:
    machine = scaling(minimum=2)
    assert machine.decide(0.0, load()) == Decision(2, (), 60.0)
    assert machine.decide(1.0, load(worker("w1"))).start == 0
    assert machine.decide(61.0, load(worker("w1"))).start == 1


def test_workers_are_started_for_what_others_cannot_step_and_no_more_than_the_maximum() -> None:
    assert scaling().decide(0.0, load(BUSY)).start == 0
    assert scaling().decide(0.0, load(BUSY, waiting=3)).start == 2
    assert scaling().decide(0.0, load(BUSY, worker("w2"), waiting=3)).start == 1
    assert scaling().decide(0.0, load(FULL)).start == 3
    assert scaling(maximum=2).decide(0.0, load(BUSY, waiting=99)).start == 1


def test_load_for_which_workers_are_starting_starts_no_more() -> None:
    machine = scaling(maximum=9)
    assert machine.decide(0.0, load(BUSY, waiting=4)).start == 2
    assert machine.decide(1.0, load(BUSY, waiting=4)).start == 0
    assert machine.decide(2.0, load(BUSY, worker("w2"), waiting=4)).start == 0
    assert machine.decide(3.0, load(BUSY, worker("w2", 4, 2), waiting=4)).start == 1


def test_placed_fibers_count_by_what_they_need_and_only_if_a_new_worker_fits() -> None:
    gpu = [(Needs({}, {"gpu": 1.0}), 6)]
    assert scaling(maximum=9).decide(0.0, load(BUSY, waiting=6, placed=gpu)).start == 0
    machine = scaling(maximum=9, resources={"gpu": 2.0}, threads=8)
    assert machine.decide(0.0, load(BUSY, waiting=6, placed=gpu)).start == 3


def test_worker_that_is_idle_for_long_is_stopped_down_to_the_minimum() -> None:
    machine = scaling()
    idle = worker("w2"), worker("w3")
    assert machine.decide(0.0, load(BUSY, *idle)) == Decision(0, (), 10.0)
    assert machine.decide(5.0, load(BUSY, idle[0], worker("w3", 1))).stop == ()
    assert machine.decide(10.0, load(BUSY, *idle)) == Decision(0, ("w2",), 20.0)
    assert machine.decide(20.0, load(worker("w3"))).stop == ()


def test_no_worker_is_stopped_while_fibers_wait() -> None:
    machine = scaling(maximum=2)
    machine.decide(0.0, load(BUSY, worker("w2")))
    assert machine.decide(11.0, load(BUSY, worker("w2"), waiting=9)).stop == ()


def test_workers_beyond_the_maximum_are_stopped_at_once_those_with_the_fewest_fibers() -> None:
    leaving = worker("w4", is_leaving=True)
    assert scaling(maximum=1).decide(0.0, load(BUSY, FULL, leaving)).stop == ("w1",)
