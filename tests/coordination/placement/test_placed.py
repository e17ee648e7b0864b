"""Placed fibers at the coordinator: who gets what, in which order."""

from __future__ import annotations

from typing import Any

from distio.coordination.state.events import Disconnected, Joined
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON
from tests.harness.coordinators import Commands, Scene

RUN = fiber_id(1, 0)


class Placing(Scene):
    """A run whose fibers need something."""

    def __init__(self, *workers: dict[str, Any]) -> None:
        super().__init__()
        for has in workers:
            self.equips(**has)
        self.starts(fibers=40, snapshots="births")

    def equips(self, threads: int = 8, **has: Any) -> Commands:
        """A worker joins that has this."""
        serial = 1000 + self.machine.state.next_incarnation
        named = {"name": f"w{self.machine.state.next_incarnation}", **has}
        hello = m.Hello(PROTOCOL, PYTHON, "worker", threads, "host", serial, b"", **named)
        return self.happens(Joined(hello))

    def needs(self, fiber: int, prefer: Any = None, **needs: Any) -> list[tuple[int, int]]:
        """A fiber of the client needs this: (fiber, worker) of what is placed then."""
        tags = {name: each for name, each in needs.items() if isinstance(each, str)}
        amounts = {name: float(each) for name, each in needs.items() if name not in tags}
        wants = m.Needs(tags, amounts, prefer or {})
        chunk = m.Chunk(RUN, [(fiber_id(1, fiber), 0)], b"io", needs=wants)
        return placed(self.says(1, m.Offer([chunk])))

    def ends(self, fiber: int, worker: int) -> list[tuple[int, int]]:
        ended = m.RunProgress(RUN, [], 0, [(fiber_id(1, fiber), 1)], 0)
        return placed(self.tells(worker, ended))


def placed(commands: Commands) -> list[tuple[int, int]]:
    places = [(to, each) for to, each in commands if isinstance(each, m.Place)]
    return [(place.chunk.fibers[0][0] & 0xFFFF, to) for to, place in places]


ONE, TWO = {"resources": {"gpu": 1.0}}, {"resources": {"gpu": 2.0}}


def test_placed_fiber_goes_to_a_worker_with_what_it_needs_and_prefers_what_it_likes() -> None:
    scene = Placing({}, {"tags": {"zone": "a"}}, {"tags": {"zone": "a", "disk": "ssd"}})
    assert scene.needs(1, zone="a") == [(1, 3)]
    assert scene.needs(2, zone="a", prefer={"disk": "ssd"}) == [(2, 4)]
    assert scene.needs(3, zone="a", prefer={"disk": "ssd"}) == [(3, 4)]


def test_amounts_are_given_back_at_the_end_and_given_first_come_first_served() -> None:
    scene = Placing(ONE)
    assert scene.needs(1, gpu=1) == [(1, 2)]
    assert scene.needs(2, gpu=0.5) == scene.needs(3, gpu=0.5) == scene.needs(4, gpu=1) == []
    assert scene.ends(1, 2) == [(2, 2), (3, 2)]
    assert scene.ends(2, 2) == []
    assert scene.ends(3, 2) == [(4, 2)]


def test_fiber_that_needs_much_is_not_starved_by_those_that_need_little() -> None:
    scene = Placing(TWO)
    assert scene.needs(1, gpu=1) == [(1, 2)]
    assert scene.needs(2, gpu=2) == scene.needs(3, gpu=1) == []
    assert scene.needs(4, gpu=3) == []  # which no worker has: nobody waits behind it
    assert scene.ends(1, 2) == [(2, 2)]
    assert scene.ends(2, 2) == [(3, 2)]


def test_fiber_of_a_lost_worker_comes_before_those_that_have_not_begun() -> None:
    scene = Placing(ONE, ONE)
    assert scene.needs(1, gpu=1) == [(1, 2)]
    assert scene.needs(2, gpu=1) == [(2, 3)]
    assert scene.needs(3, gpu=1) == []
    assert placed(scene.happens(Disconnected(2))) == []
    assert scene.ends(2, 3) == [(1, 3)]
    assert scene.machine.state.places.used(3) == {"gpu": 1.0}


def test_fiber_that_fits_no_worker_is_told_of_once_and_goes_on_when_one_joins() -> None:
    scene = Placing(ONE)
    assert scene.needs(1, gpu=4) == scene.needs(2, gpu=4) == []
    told = scene.tick(3.0)
    needs = m.Needs({}, {"gpu": 4.0})
    assert (1, m.NoWorkerFits(RUN, needs, ["w2 (gpu=1)"])) in told
    assert [to for to, each in told if isinstance(each, m.NoWorkerFits)] == [1, 0]
    assert scene.tick(9.0) == []
    assert placed(scene.equips(resources={"gpu": 4.0})) == [(1, 3)]


def reports(commands: list[Any]) -> list[int]:
    """To whom it is said that a fiber fits no worker."""
    return [to for to, said in commands if isinstance(said, m.NoWorkerFits)]


def test_fiber_that_is_placed_within_the_moment_is_not_reported() -> None:
    scene = Placing(ONE)
    assert scene.needs(1, gpu=4) == []
    assert placed(scene.equips(resources={"gpu": 4.0})) == [(1, 3)]
    assert scene.tick(3.0) == []


def test_fiber_is_reported_at_once_when_the_last_worker_that_fits_is_lost() -> None:
    scene = Placing(ONE)
    assert scene.needs(1, gpu=1) == [(1, 2)]
    assert scene.needs(2, gpu=1) == []
    assert reports(scene.tick(3.0)) == []
    assert reports(scene.happens(Disconnected(2))) == [1, 0]


def test_fiber_that_is_cancelled_before_it_begins_needs_nothing() -> None:
    scene = Placing({})
    assert scene.needs(1, gpu=1) == []
    cancel = m.CancelFibers(RUN, [(fiber_id(1, 1), 0)])
    assert placed(scene.says(1, cancel)) == [(1, 2)]
    assert not scene.machine.state.places.needs


def test_worker_that_could_take_placed_fibers_is_described_to_the_victim() -> None:
    scene = Placing({"threads": 1, "tags": {"zone": "a"}})
    scene.needs(1, zone="a")
    scene.needs(2, zone="a")
    scene.tells(2, ready=2)
    said = scene.equips(tags={"zone": "a"}, resources={"gpu": 1.0})
    steal = m.StealRequest(1, [m.Thief({"zone": "a"}, {"gpu": 1.0})])
    assert (2, steal) in said
