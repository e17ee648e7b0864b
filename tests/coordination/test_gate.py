"""The gate of the coordinator: a message that can't be true costs its sender alone."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from distio import Ok, Queue, Var, io, resource
from distio.coordination.coordinator import Features
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.placement.coordinator import Placement
from distio.coordination.state.registry import NOWHERE
from distio.coordination.timers.coordinator import Timers
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.protocol.messages import checkpoints, roster, status
from tests.harness.in_one_thread import Liar, Scene, outcome_of

CLIENT, LIAR = 1, 4
HONEST = fiber_id(CLIENT, 0)
OWN = fiber_id(LIAR, 0)
QUEUE, ROOT = fiber_id(LIAR, 90), OWN


@io.do
async def honest_session() -> list[Any]:
    """A run that uses locks, variables and queues on both workers for a while."""
    lock, var = resource.lock("door"), await Var.create(0)
    queue, tight = await Queue.create(), await Queue.create(1)
    count = lock.with_(var.get().flat_map(lambda n: io.sleep(0.004).then(var.set(n + 1))))

    @io.do
    async def puts(to: Any) -> None:
        for each in range(8):
            await to.put(each)
            await io.sleep(0.003)
        await to.close()

    @io.do
    async def takes(of: Any) -> int:
        return sum([each async for each in of])

    counts = io.zip_par([io.zip([count] * 4) for _ in range(4)])
    sums = [io.zip_par(puts(each), takes(each)) for each in (queue, tight)]
    _, *found = await io.zip_par(counts, *sums)
    return [await var.get(), *[both[1] for both in found]]


RIGHT = [16, 28, 28]


def chunk(*fibers: int, run: int = OWN, epoch: int = 0, **more: Any) -> m.Chunk:
    return m.Chunk(run, [(fiber, epoch) for fiber in fibers], b"junk", **more)


def shares(fiber: int, data: bytes = b"") -> m.Chunk:
    return chunk(fiber, attachments=[(b"digest", data)])


def told(run: int, **more: Any) -> m.Progress:
    fields: dict[str, Any] = {"started": [], "finished": 0, "ended": [], "blocked": 0} | more
    return m.Progress(0, 0, [m.RunProgress(run, **fields)])


def own(sequence: int) -> int:
    return fiber_id(LIAR, sequence)


MAKES_QUEUE = m.MakePrimitive(OWN, QUEUE, "queue", 1)
CHILD = HONEST + 4
"""A fiber of the honest run that has moved."""

LIES: dict[str, list[m.MemberMessage]] = {
    "a run of others begins": [m.StartRun(HONEST)],
    "a run of others is watched": [m.WatchRun(HONEST)],
    "a run begins twice": [m.StartRun(OWN)],
    "fibers of others have ended": [told(HONEST, finished=1)],
    "others have started fibers": [told(HONEST, started=[(0, 5)])],
    "more fibers end than live there": [told(OWN, finished=2)],
    "more was heard than was said": [m.Progress(2**53, 0, [])],
    "a fiber ends under another run": [told(OWN, ended=[(CHILD, 1)])],
    "a fiber of others is offered": [m.Offer([chunk(CHILD, run=HONEST)])],
    "a fiber of others is offered as its own": [m.Offer([chunk(CHILD)])],
    "a fiber is offered twice": [told(OWN, started=[(1, 9)]), m.Offer([chunk(own(1), own(1))])],
    "a fiber is offered in two chunks": [m.Offer([chunk(OWN), chunk(OWN, epoch=1)])],
    "more fibers are offered than live there": [m.Offer([chunk(own(1), own(2))])],
    "a fiber that was never placed has an epoch": [m.Offer([chunk(OWN, epoch=7)])],
    "a fiber is offered as new that has moved": [m.Offer([chunk(CHILD)], are_new=True)],
    "a fiber of others is offered as new": [m.Offer([chunk(HONEST + 99)], are_new=True)],
    "a new fiber is offered twice": [m.Offer([chunk(own(1))], are_new=True)] * 2,
    "a new fiber has an epoch": [m.Offer([chunk(own(1), epoch=1)], are_new=True)],
    "fibers hold the lock of others": [m.Offer([chunk(OWN, held=[("door", 0, 1)])])],
    "several fibers need one place": [
        told(OWN, started=[(1, 9)]),
        m.Offer([chunk(own(1), own(2), needs=m.Needs({}, {"gpu": 1.0}))]),
    ],
    "fibers go to a member that never was": [m.Offer([chunk(OWN, target=99)])],
    "an attachment is missing": [m.Offer([shares(OWN)])],
    "the attachment of a snapshot is missing": [m.SaveFibers(OWN, 0, [shares(OWN)])],
    "outcomes of others are asked for": [m.AwaitOutcomes(HONEST, [CHILD])],
    "not every outcome has a fiber": [m.OutcomesReady([CHILD], [])],
    "handles of others leave": [m.Expose(OWN, [CHILD])],
    "a run of others is cancelled": [m.CancelRun(HONEST)],
    "fibers of others are cancelled": [m.CancelFibers(HONEST, [(CHILD, 0)])],
    "fibers of others are asked after": [status.QueryStatus(HONEST, CHILD, 1, CHILD)],
    "a fiber of others sleeps": [m.StartTimer(OWN, CHILD, 1, 1.0)],
    "a fiber of others waits until it is stored": [checkpoints.AwaitStored(OWN, CHILD, 1)],
    "a fiber sleeps twice": [m.StartTimer(OWN, OWN, 1, 1.0), m.StartTimer(OWN, OWN, 2, 1.0)],
    "a limit lets nobody start": [m.AcquireTokens("none", 0, 1.0, OWN, [OWN])],
    "one fiber waits often": [m.AcquireTokens("mine", 0, 0.0, OWN, [OWN, OWN])],
    "one fiber waits again": [m.AcquireTokens("door", 0, 0.0, OWN, [OWN])] * 2,
    "fibers of others wait": [m.AcquireTokens("door", 0, 0.0, OWN, [CHILD])],
    "others wait for a lock": [m.AcquireTokens("door", 0, 0.0, HONEST, [CHILD])],
    "a variable of others is set": [m.StoreValue(HONEST, HONEST + 2, b"junk")],
    "an object of another member is a variable": [m.StoreValue(OWN, HONEST + 2, b"junk")],
    "a key is used twice": [MAKES_QUEUE, MAKES_QUEUE],
    "the key of others is used": [m.MakePrimitive(OWN, HONEST + 3, "barrier", 3)],
    "a barrier for nobody is made": [m.MakePrimitive(OWN, QUEUE, "barrier", 0)],
    "others talk": [m.PrimitiveCall(HONEST, own(5), HONEST + 3, "take", 0, None)],
    "one fiber calls twice": [
        MAKES_QUEUE,
        *[m.PrimitiveCall(OWN, OWN, QUEUE, "take", 0, None)] * 2,
    ],
    "nothing is put": [MAKES_QUEUE, m.PrimitiveCall(OWN, OWN, QUEUE, "put", 0, None)],
    "something is put without asking": [MAKES_QUEUE, m.DelegatedPut(OWN, OWN, QUEUE, b"")],
    "nowhere is put": [m.DelegatedPut(OWN, OWN, 12345, b"")],
    "a client says what is for workers": [m.RelayLogs(OWN, b"junk")],
    "one run is reported twice": [
        told(OWN, started=[(1, 1)]),
        m.Progress(0, 0, [m.RunProgress(OWN, [], 2, [], 0)] * 2),
    ],
    "more fibers start than there are ids": [told(OWN, started=[(0, 2**53)])],
    "a snapshot is of fibers of others, too": [
        m.SaveFibers(OWN, 0, [chunk(OWN, fiber_id(CLIENT, 500))])
    ],
    "a chunk doesn't say where all of its fibers lie": [
        told(OWN, started=[(1, 1)]),
        m.Offer([chunk(OWN, own(1), places=[0])]),
    ],
    "a member leaves twice": [told(OWN, finished=1), m.Leaving(9.0), m.Leaving(9.0)],
    "handles of fibers leave that others have made": [m.Expose(OWN, [fiber_id(CLIENT, 500)])],
    "a variable is made twice": [m.StoreValue(OWN, QUEUE, b"", is_new=True)] * 2,
    "a variable becomes a queue": [m.StoreValue(OWN, QUEUE, b"", is_new=True), MAKES_QUEUE],
    "a queue becomes a variable": [MAKES_QUEUE, m.StoreValue(OWN, QUEUE, b"", is_new=True)],
    "fibers hold a lock that others have": [
        m.WaitGraph(OWN, 1, True, [], [], [("door", [OWN])]),
    ],
    "too many regions are cancelled": [
        told(OWN, started=[(1, 1)]),
        m.Offer([chunk(own(1), target=LIAR)]),
        *[m.CancelFibers(OWN, [(own(1), each) for each in range(1, 1_001)])] * 2,
    ],
}


def beside_an_honest_run() -> tuple[Scene, Liar, Any]:
    scene = Scene()
    handle = scene.start(honest_session())
    for _ in range(12):
        scene.step()
    assert scene.machine.fibers[CHILD].epoch == 1
    liar = Liar(scene, "client", "liar")
    assert liar.id == LIAR
    liar.says(m.StartRun(OWN))
    return scene, liar, handle


def goes_on(scene: Scene, handle: Any) -> None:
    scene.finish()
    assert outcome_of(handle) == Ok(RIGHT)
    assert [each.reason for each in scene.members] == [None] * 3
    assert list(scene.machine.members) == [1, 2, 3]
    scene.machine.validate_rest()


@pytest.mark.parametrize("name", LIES)
def test_lie_costs_the_member_that_tells_it_its_membership_and_no_other(name: str) -> None:
    scene, liar, handle = beside_an_honest_run()
    liar.says(*LIES[name])
    assert liar.reason is not None
    assert liar.reason.startswith("sent a message that can't be true: ")
    assert [(error, member) for member, _, error in scene.board.incidents] == [
        (None, f"client {LIAR} (process 1 on liar)")
    ]
    goes_on(scene, handle)


HARMLESS: dict[str, list[m.MemberMessage]] = {
    "tokens that it never had are returned": [m.ReturnTokens("door", 1), m.ReturnTokens(7, 9)],
    "fibers of others wait no longer": [m.WithdrawAcquire("door", [CHILD + n for n in range(30)])],
    "fibers of others want no answer": [m.WithdrawCall(CHILD + n) for n in range(30)],
    "fibers of others sleep no longer": [
        m.StopTimer(CHILD + n, timer) for n in range(30) for timer in range(9)
    ],
    "outcomes of others": [m.OutcomesReady([CHILD], [b"junk"])],
    "outcomes of others are unknown": [m.OutcomeUnknown(CHILD, n, HONEST) for n in range(3)],
    "others can't go on": [m.WaitGraph(HONEST, n, True, [(HONEST, [CHILD])]) for n in range(20)],
    "queries to others are answered": [status.FiberDescribed(n, "lost", None) for n in range(20)],
    "processes of others have exited": [m.WorkerExited(n, "killed") for n in range(50)],
    "loans of others are returned": [m.DelegationReturned(HONEST + n, 0) for n in range(9)],
    "others repeat their calls in a run that is over": [
        m.RepeatCall(fiber_id(9, 9), CHILD + n) for n in range(30)
    ],
    "a run that is over": [
        told(fiber_id(9, 9), finished=1),
        m.CancelRun(fiber_id(9, 9)),
        m.WatchRun(fiber_id(9, 9)),
    ],
    "its run is watched, again and no longer": [
        *[m.WatchRun(OWN)] * 2,
        *[m.WatchRun(OWN, goes_on=False)] * 2,
    ],
    "snapshots of one message share an attachment": [
        told(OWN, started=[(1, 1)]),
        m.SaveFibers(OWN, 0, [shares(OWN, b"data"), shares(own(1))]),
    ],
    "a worker that isn't there is to leave": [m.DrainMember("worker 99", 1.0)],
    "it takes no fibers, and asks who is there": [
        m.TakesFibers(False),
        roster.ListMembers(1, 99),
        roster.WithdrawListing(2),
    ],
    "farewell": [m.Goodbye(), m.Goodbye(), m.StartRun(HONEST)],
    "a limit whose windows end with others'": [
        m.AcquireTokens("name", 2, 0.001, OWN, [OWN]),
        m.AcquireTokens(77, 2, 0.001, OWN, [own(1)]),
    ],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_message_that_may_have_come_too_late_costs_nothing(name: str) -> None:
    scene, liar, handle = beside_an_honest_run()
    liar.says(*HARMLESS[name])
    assert liar.reason is None
    assert not scene.board.incidents
    liar.disconnect()
    goes_on(scene, handle)


def test_lies_are_counted_by_the_message_that_told_them() -> None:
    scene, liar, handle = beside_an_honest_run()
    liar.says(m.StartRun(HONEST))
    other = Liar(scene, "client", "other")
    other.says_frames([b"junk"])
    assert scene.board.refusals["can't be true (StartRun)"] == 1
    assert sum(scene.board.refusals.values()) == 2
    goes_on(scene, handle)


def test_variable_and_lock_of_another_client_are_refused_to_who_guesses_their_numbers() -> None:
    scene, liar, handle = beside_an_honest_run()
    guesses = [fiber_id(CLIENT, each) for each in range(40)]
    liar.says(*[m.AcquireTokens(guess, 0, 0.0, OWN, [OWN]) for guess in guesses])
    assert [type(each) for each in liar.heard[-40:]] == [m.LockRefused] * 40
    assert liar.reason is None
    liar.disconnect()
    goes_on(scene, handle)


def test_payload_that_is_said_to_refer_to_what_others_will_make_counts_nothing() -> None:
    scene = Scene()
    liar = Liar(scene, "client", "liar")
    run, fibers = fiber_id(liar.id, 0), [fiber_id(liar.id, each) for each in range(1, 41)]
    guesses = [fiber_id(CLIENT, each) for each in range(40)]
    lies = [chunk(fiber, run=run, references=guesses, target=liar.id) for fiber in fibers]
    liar.says(m.StartRun(run), told(run, started=[(1, 40)]))
    handle = scene.start(honest_session())
    for each in lies:  # each payload is here when something is made, and is sent on at once
        liar.says(m.Offer([each]), m.GiveBack([(guess, 1) for guess in guesses]))
        scene.step()
    assert liar.reason is None
    liar.disconnect()
    scene.finish()
    assert outcome_of(handle) == Ok(RIGHT)
    scene.machine.validate_rest()


@pytest.mark.parametrize("has_served", [False, True])
def test_log_records_reach_a_client_only_from_workers_that_have_hosted_its_fibers(
    has_served: bool,
) -> None:
    scene = Scene(workers=0)
    worker = Liar(scene, "worker", "liar")
    if has_served:
        scene.start(io.parallel(io.pure(1)))
        scene.finish()
    over = fiber_id(scene.client.id, 500)
    worker.says(m.RelayLogs(over, b"\x90", count=1))
    assert (worker.reason is None) is has_served
    gone = fiber_id(99, 0)
    other = Liar(scene, "worker", "other")
    other.says(m.RelayLogs(gone, b"\x90", count=1))
    assert other.reason is None  # the client has left, and this came late


def test_snapshot_that_cannot_be_opened_ends_its_fiber_and_no_worker() -> None:
    scene, liar, handle = beside_an_honest_run()
    waits = chunk(own(1), is_waiting=True)
    liar.says(told(OWN, started=[(1, 1)]), m.Offer([waits]), m.AwaitOutcomes(OWN, [own(1)]))
    scene.finish()
    assert any(isinstance(each, m.Outcomes) for each in liar.heard)
    liar.disconnect()
    goes_on(scene, handle)


def test_frame_that_is_no_message_costs_its_member_its_membership() -> None:
    scene, liar, handle = beside_an_honest_run()
    liar.says_frames([b"junk"])
    assert liar.reason is not None
    goes_on(scene, handle)


def test_number_outside_its_domain_costs_its_member_its_membership() -> None:
    scene, liar, handle = beside_an_honest_run()
    liar.says(m.StartTimer(OWN, OWN, 1, float("nan")))
    assert liar.reason is not None
    assert "seconds" in liar.reason
    goes_on(scene, handle)


def test_coordinator_sends_no_fibers_to_the_client_of_another_run() -> None:
    scene, liar, handle = beside_an_honest_run()
    liar.says(m.Offer([chunk(OWN, target=CLIENT)]), m.AwaitOutcomes(OWN, [OWN]))
    assert OWN not in scene.client.node.member.state.hosted
    liar.disconnect()
    goes_on(scene, handle)


# -- mistakes of the coordinator's own --------------------------------------------------------


def fails(*_: Any) -> None:
    raise KeyError("planted")


LOSING = [
    name
    for name, feature in get_type_hints(Features).items()
    if feature.member_lost is not CoordinatorFeature.member_lost
]
"""The features that have a say when a member is lost."""


def test_handler_that_fails_costs_its_run_alone_and_logs_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, liar, handle = beside_an_honest_run()
    with monkeypatch.context() as patch:
        patch.setitem(scene.machine._handlers, m.CancelRun, fails)
        liar.says(m.CancelRun(OWN))
    assert liar.reason is None
    assert "the coordinator lost track of this run" in repr(scene.machine.runs[OWN].ending)
    (warning,) = scene.warnings
    assert "Traceback" in warning
    assert "in fails" in warning
    liar.disconnect()
    goes_on(scene, handle)


def test_handler_that_fails_for_no_run_costs_the_sender_and_logs_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, liar, handle = beside_an_honest_run()
    with monkeypatch.context() as patch:
        patch.setitem(scene.machine._handlers, m.GiveBack, fails)
        liar.says(m.GiveBack([]))
    assert liar.reason == (
        "sent a message that the coordinator failed on: a bug in distio (KeyError('planted'))"
    )
    (warning,) = scene.warnings
    assert "Traceback" in warning
    assert "in fails" in warning
    goes_on(scene, handle)


def test_chunk_that_cannot_be_placed_costs_its_run_and_no_member(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The chunk is placed when another member has spoken."""
    scene = Scene(workers=0)
    handle = scene.start(io.parallel(io.pure(1)).flat_map(io.wait))
    scene.finish()
    assert scene.machine.runs[HONEST].alive_at[NOWHERE] == 1
    with monkeypatch.context() as patch:
        patch.setattr(Placement, "_place", fails)
        worker = Liar(scene, "worker", "worker")
    assert worker.reason is None
    scene.finish()
    assert "Cancelled" in repr(handle.outcome)
    assert not scene.client.node.member.state.runs
    assert [name for name, _, _ in scene.board.incidents] == [""]
    scene.machine.validate_rest()


def test_tick_that_fails_costs_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.start(io.sleep(1))
    scene.client.node.work()
    scene.client.speak()
    with monkeypatch.context() as patch:
        patch.setattr(Timers, "due", fails)
        scene.now = 1.0
        scene.board.tick(scene.now)
        scene.deliver()
    assert [each.reason for each in scene.members] == [None] * 3
    scene.finish()
    assert not scene.client.node.member.state.runs
    scene.machine.validate_rest()


@pytest.mark.parametrize("feature", LOSING)
def test_loss_of_a_member_that_fails_in_one_part_is_complete_in_all_others(
    feature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    handle = scene.start(honest_session().attempt())
    for _ in range(12):
        scene.step()
    worker = scene.workers[0]
    scene.members.remove(worker)
    monkeypatch.setattr(get_type_hints(Features)[feature], "member_lost", fails)
    worker.disconnect()
    assert scene.board.incidents
    scene.finish()
    assert handle.outcome is not None or not scene.client.node.member.state.runs
    assert scene.client.reason is None
    scene.machine.validate_rest()
