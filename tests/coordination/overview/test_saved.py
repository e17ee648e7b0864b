"""The coordinator's snapshots of a run's fibers, told page by page to clients."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from distio.coordination.overview import saved
from distio.protocol import messages as m
from distio.protocol.domains import Snapshots
from distio.protocol.ids import fiber_id
from distio.protocol.messages import overview as o
from distio.protocol.messages.cold import FibersPutAway
from tests.harness.coordinators import Scene, chunk, ended, finished

RUN = fiber_id(1, 0)
CODE, DATA = (b"code", b"the code"), (b"data", b"the data")
LONG = bytes(saved.PAGE_BYTES)


def a_run(
    *chunks: Sequence[int], snapshots: Snapshots = "suspensions", payload: bytes = b"payload"
) -> Scene:
    """Children of the root went to a worker, those of a chunk in one pickle."""
    scene = Scene(workers=1)
    scene.starts(fibers=1 + sum(map(len, chunks)), snapshots=snapshots)
    for numbers in chunks:
        offered = replace(chunk(RUN, *[RUN + n for n in numbers]), payload=payload)
        scene.says(1, m.Offer([replace(offered, attachments=[CODE, DATA], code=CODE[0])]))
    return scene


def page(
    scene: Scene, number: int = 0, client: int = 1, fiber: int = 0, question: int = 5
) -> o.SavedTold:
    commands = scene.says(client, o.AskSaved(question, RUN, fiber, number))
    ((to, told),) = [(to, each) for to, each in commands if isinstance(each, o.SavedTold)]
    assert (to, told.question) == (client, question)
    return told


def pages(scene: Scene, client: int = 1) -> Sequence[o.SavedTold]:
    found = [page(scene, 0, client)]
    while not found[-1].is_last:
        found.append(page(scene, len(found), client))
    return found


def test_fibers_of_a_run_are_told_with_their_snapshots_and_what_those_refer_to() -> None:
    scene = a_run([1, 2])
    other = scene.join("client")
    told = page(scene, client=other)
    assert (told.is_known, told.is_last, told.is_cut) == (True, True, False)
    assert (told.alive, told.keeps) == (3, "suspensions")
    assert told.owner == scene.machine.members[1].name()
    assert [(each.fiber, each.snapshot, each.place) for each in told.fibers] == [
        (RUN + 1, 1, 0),
        (RUN + 2, 1, 1),
    ]
    assert {each.at for each in told.fibers} == {scene.machine.members[2].name()}
    assert told.snapshots == [o.SnapshotSaved(1, b"payload", CODE[0], False, False)]
    assert told.attachments == [CODE, DATA]


def test_pages_tell_each_fiber_snapshot_and_attachment_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved, "PAGE", 2)
    scene = a_run([1, 2], [3], [4])
    told = pages(scene)
    assert all(len([*p.fibers, *p.snapshots, *p.attachments]) == 2 for p in told[:-1])
    assert [each.fiber for p in told for each in p.fibers] == [RUN + n for n in range(1, 5)]
    assert [each.number for p in told for each in p.snapshots] == [1, 2, 3]
    assert [each for p in told for each in p.attachments] == [CODE, DATA]
    assert not scene.machine.features.saved.leftovers()["listings of what is saved"]


def test_page_takes_no_more_when_it_has_bytes_enough() -> None:
    told = pages(a_run([1], [2], payload=LONG))
    assert [[each.number for each in p.snapshots] for p in told] == [[1], [2]]


def test_one_fiber_is_told_alone() -> None:
    scene = a_run([1], [2])
    told = page(scene, fiber=RUN + 2)
    assert [each.fiber for each in told.fibers] == [RUN + 2]
    assert len(told.snapshots) == 1
    assert page(scene, fiber=RUN + 9).fibers == []


def test_fiber_of_a_run_that_keeps_no_snapshots_is_told_without() -> None:
    told = page(a_run([1], snapshots="off"))
    assert [(each.fiber, each.snapshot) for each in told.fibers] == [(RUN + 1, 0)]
    assert (told.keeps, told.snapshots, told.attachments) == ("off", [], [])


def test_fiber_whose_worker_could_not_save_it_is_told_with_the_reason() -> None:
    scene = a_run([1])
    unsaved = m.Unsaved(RUN + 1, 1, "it has an open file")
    scene.says(2, m.SaveFibers(RUN, 0, [], unsaved=[unsaved]))
    (fiber,) = page(scene).fibers
    assert (fiber.snapshot, fiber.unsaved) == (0, "it has an open file")


def test_fiber_that_sleeps_is_told_when_it_wakes_wherever_it_sleeps() -> None:
    scene = a_run([1])
    scene.says(2, m.StartTimer(RUN, RUN + 1, 1, 100.0))
    scene.now = 30.0
    (fiber,) = page(scene).fibers
    assert (fiber.is_asleep, fiber.wakes_in) == (True, 70.0)
    scene.says(2, m.SaveFibers(RUN, 0, [replace(chunk(RUN, RUN + 1, epoch=1), is_waiting=True)]))
    scene.says(2, FibersPutAway(RUN, [(RUN + 1, 1)], False, [(RUN + 1, "fetch")]))
    scene.now = 40.0
    (fiber,) = page(scene).fibers
    assert (fiber.is_asleep, fiber.wakes_in) == (True, 60.0)
    assert (fiber.at, fiber.name) == ("", "fetch")


def test_run_that_is_over_is_said_to_be_unknown() -> None:
    scene = Scene()
    assert scene.says(1, o.AskSaved(5, RUN, 0, 0)) == [(1, o.SavedTold(5, False, True))]


def test_listing_ends_with_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "PAGE", 1)
    scene = a_run([1])
    assert not page(scene).is_last
    scene.tells(2, ended(RUN, RUN + 1))
    scene.tells(1, finished(RUN, 1))
    scene.machine.validate_rest()
    assert not page(scene, 1).is_known


def test_listing_ends_with_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "PAGE", 1)
    scene = a_run([1])
    other = scene.join("client")
    page(scene, client=other)
    scene.breaks(other)
    assert not scene.machine.features.saved.leftovers()["listings of what is saved"]


def test_fiber_that_ends_while_its_run_is_listed_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved, "PAGE", 1)
    scene = a_run([1], [2])
    told = [page(scene)]
    scene.tells(2, ended(RUN, RUN + 2))
    while not told[-1].is_last:
        told.append(page(scene, len(told)))
    assert [each.fiber for p in told for each in p.fibers] == [RUN + 1]


def test_page_that_is_not_the_next_of_a_listing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "PAGE", 1)
    scene = a_run([1])
    cut = o.SavedTold(5, True, True, True)
    assert page(scene, 1) == cut  # none was begun
    assert not page(scene).is_cut
    assert page(scene, 2) == cut
    assert page(scene, 1, question=6) == replace(cut, question=6)
    assert not page(scene, 1).is_cut


def test_further_listing_than_there_may_be_ends_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved, "PAGE", 1)
    monkeypatch.setattr(saved, "_MOST_LISTINGS", 2)
    scene = a_run([1])
    clients = [scene.join("client") for _ in range(3)]
    for client in clients:
        page(scene, client=client)
    assert [page(scene, 1, client).is_cut for client in clients] == [True, False, False]


def test_coordinator_that_is_pickled_amid_a_listing_tells_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved, "PAGE", 1)
    scene = a_run([1, 2], [3])
    before = [page(scene, n) for n in range(3)]
    scene.machine = pickle.loads(pickle.dumps(scene.machine))
    while not before[-1].is_last:
        before.append(page(scene, len(before)))
    assert before == pages(a_run([1, 2], [3]))
