"""Which fibers are suspected when a worker is lost, and what is told of its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distio.coordination.recovery.words import describe_loss
from distio.coordination.state.events import Expelled, Joined
from distio.errors import ProcessExit
from distio.protocol import messages as m
from distio.protocol.domains import Snapshots
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON
from tests.harness.coordinators import Scene, chunk

RUN = fiber_id(1, 0)
ONE, TWO, THREE = (fiber_id(1, n) for n in (1, 2, 3))
KILLED = ProcessExit(signal="SIGKILL", output=("the end",))


class Watched(Scene):
    """A client that watches its workers, and whose fibers were offered, each in its own chunk."""

    def __init__(
        self, *fibers: int, max_losses: int = 3, snapshots: Snapshots = "suspensions"
    ) -> None:
        super().__init__(max_losses=max_losses, family="f")
        self.worker = self.join("worker", family="f", threads=10)
        self.says(1, m.StartRun(RUN, snapshots))
        self.tells(1, m.RunProgress(RUN, [(1, len(fibers))], 0, [], 0), ready=1)
        for fiber in fibers:
            self.offers(1, RUN, fiber)

    def loses(
        self, in_hand: list[m.InHand] | None, exit: ProcessExit | None = KILLED
    ) -> list[tuple[int, m.CoordinatorMessage]]:
        """Lose the worker, and start another in its place."""
        lost, self.worker = self.worker, self.join("worker", family="f", threads=10)
        self.breaks(lost)
        return self.says(1, m.WorkerExited(1000 + lost, "killed", exit, in_hand))

    def losses(self) -> dict[int, int]:
        return {fiber: record.rare.losses for fiber, record in self.machine.fibers.items()}


def held(fiber: int, head: int | None = None, *, has_others: bool = False) -> m.InHand:
    return m.InHand(fiber, head or fiber, has_others)


def test_fiber_that_was_in_hand_is_counted_and_no_other() -> None:
    scene = Watched(ONE, TWO)
    scene.loses([held(ONE)])
    assert scene.losses() == {ONE: 1, TWO: 0}


def test_fiber_that_only_its_host_knew_counts_for_the_head_of_its_tree() -> None:
    scene = Watched(ONE, TWO)
    scene.loses([held(fiber_id(scene.worker, 5), TWO)])
    assert scene.losses() == {ONE: 0, TWO: 1}


def test_fibers_that_were_unpickled_together_are_counted_together() -> None:
    scene = Watched(ONE)
    scene.tells(1, m.RunProgress(RUN, [(2, 2)], 0, [], 0), ready=1)
    scene.offers(1, RUN, TWO, THREE)
    scene.loses([held(TWO, has_others=True)])
    assert scene.losses() == {ONE: 0, TWO: 1, THREE: 1}


def test_fiber_that_was_suspected_before_is_to_blame_and_not_one_beside_it() -> None:
    scene = Watched(ONE, TWO)
    scene.loses([held(ONE)])
    scene.loses([held(TWO), held(ONE)])
    assert scene.losses() == {ONE: 2, TWO: 0}


def test_fibers_suspected_together_for_the_first_time_are_both_counted() -> None:
    scene = Watched(ONE, TWO)
    scene.loses([held(TWO), held(ONE)])
    assert scene.losses() == {ONE: 1, TWO: 1}


def test_suspects_go_on_apart_and_after_the_others() -> None:
    scene = Watched()
    scene.tells(1, m.RunProgress(RUN, [(1, 3)], 0, [], 0), ready=1)
    scene.offers(1, RUN, ONE, TWO, THREE)
    said = scene.loses([held(ONE), held(TWO)])
    places = [each.chunk.fibers for _, each in said if isinstance(each, m.Place)]
    assert places == [[(THREE, 2)], [(ONE, 2)], [(TWO, 2)]]


def test_worker_with_nothing_in_hand_counts_for_nobody() -> None:
    scene = Watched(ONE, TWO)
    scene.loses([])
    assert scene.losses() == {ONE: 0, TWO: 0}


def test_each_fiber_that_may_run_is_counted_if_nobody_has_seen_what_was_in_hand() -> None:
    scene = Watched(ONE, TWO)
    waiting = m.Chunk(RUN, [(TWO, 1)], b"payload", is_waiting=True)
    scene.says(scene.worker, m.SaveFibers(RUN, 0, [waiting]))
    scene.loses(None)
    assert scene.losses() == {ONE: 1, TWO: 0}


@pytest.mark.parametrize(("is_blameless", "count"), [(True, 0), (False, 1)])
def test_worker_that_knows_more_than_the_coordinator_counts_for_nobody(
    is_blameless: bool, count: int
) -> None:
    scene = Watched(ONE, TWO)
    lost, scene.worker = scene.worker, scene.join("worker", family="f", threads=10)
    scene.happens(Expelled(lost, "the journal has gone back", is_blameless))
    assert scene.losses() == {ONE: count, TWO: count}


def test_worker_that_leaves_in_order_counts_for_nobody() -> None:
    scene = Watched(ONE)
    scene.says(scene.worker, m.Leaving(10.0))
    scene.join("worker", family="f")
    scene.says(scene.worker, m.Goodbye())
    assert scene.losses() == {ONE: 0}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_fiber_is_lost_with_the_last_of_so_many_workers(most: int) -> None:
    scene = Watched(ONE, TWO, max_losses=most)
    scene.says(1, m.AwaitOutcomes(RUN, [ONE]))
    for _ in range(most - 1):
        assert not any(type(each) is m.FiberLost for _, each in scene.loses([held(ONE)]))
    said = [each for member, each in scene.loses([held(ONE)]) if member == 1]
    times = "1 worker was" if most == 1 else f"{most} workers were"
    reason = f"killed; {times} lost while the fiber ran there, so it may be what ends them"
    worker = f"worker {1 + most} (process {1001 + most} on host)"
    assert said == [m.WorkerEnded(worker, KILLED), m.FiberLost(ONE, worker, reason)]
    assert scene.losses()[TWO] == 0


def test_end_of_a_process_is_told_once_to_each_member_that_waits() -> None:
    scene = Watched(ONE, TWO, snapshots="off")
    scene.says(1, m.AwaitOutcomes(RUN, [ONE, TWO]))
    said = scene.loses([held(ONE)])
    assert [type(each) for _, each in said] == [m.WorkerEnded, m.FiberLost, m.FiberLost]


def test_member_that_asks_later_is_told_how_the_process_ended() -> None:
    scene = Watched(ONE, snapshots="off")
    assert scene.loses([held(ONE)]) == []
    said = scene.says(1, m.AwaitOutcomes(RUN, [ONE]))
    assert [type(each) for _, each in said] == [m.WorkerEnded, m.FiberLost]


def test_worker_whose_end_nobody_has_seen_is_lost_without_details() -> None:
    scene = Watched(ONE, snapshots="off")
    scene.says(1, m.AwaitOutcomes(RUN, [ONE]))
    assert [type(each) for _, each in scene.loses(None, exit=None)] == [m.FiberLost]


def test_report_of_a_careless_watcher_is_cut_short() -> None:
    scene = Watched(ONE, snapshots="off")
    scene.says(1, m.AwaitOutcomes(RUN, [ONE]))
    long = replace(KILLED, stack="s" * 9_000, output=("x" * 9_000,) * 100, running=("y",) * 1_000)
    ((_, ended), _) = scene.loses([], long)
    assert isinstance(ended, m.WorkerEnded)
    assert (len(ended.exit.output), len(ended.exit.output[0])) == (20, 500)
    assert (len(ended.exit.stack), len(ended.exit.running)) == (4_000, 100)


def test_chunk_of_fibers_goes_on_without_the_one_that_is_lost() -> None:
    scene = Watched(max_losses=1)
    scene.tells(1, m.RunProgress(RUN, [(1, 2)], 0, [], 0), ready=1)
    scene.offers(1, RUN, ONE, TWO)
    said = scene.loses([held(ONE)])
    (place,) = [each for _, each in said if isinstance(each, m.Place)]
    assert place.chunk.fibers == [(TWO, 2)]
    assert place.chunk.places == [1]
    assert chunk(RUN, ONE, TWO).payload == place.chunk.payload


# -- reports ----------------------------------------------------------------------------------


def test_loss_is_reported_with_what_goes_on_and_where() -> None:
    scene = Watched(ONE, TWO, THREE, max_losses=1)
    saved = m.Chunk(RUN, [(TWO, 1)], b"payload")
    scene.says(scene.worker, m.SaveFibers(RUN, 0, [saved]))
    scene.now = 4.0
    scene.loses([held(ONE)])
    (report,) = scene.reports
    assert report == m.LossReported(
        "worker 2 (process 1002 on host)",
        "killed",
        saved=1,
        again=1,
        lost=1,
        places=[("worker 3 (process 1003 on host)", 2)],
    )
    assert describe_loss(report) == (
        "worker 2 (process 1002 on host) was lost: killed; of its 3 fibers 1 goes on from its "
        "snapshot, 1 begins again, 1 is lost (2 at worker 3 (process 1003 on host), 0 ms after it "
        "was seen)"
    )


def test_time_until_fibers_have_places_is_that_since_the_loss_was_seen() -> None:
    scene = Watched(ONE)
    scene.now = 4.0
    scene.breaks(scene.worker)
    scene.now = 4.5
    scene.says(1, m.WorkerExited(1000 + scene.worker, "killed", KILLED, []))
    (early,) = scene.reports
    assert (early.waiting, early.places, early.is_late) == (1, [], False)
    scene.tells(1)
    assert scene.reports == [early], "nothing has changed"
    scene.now = 6.0
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 9, b"")
    scene.happens(Joined(hello))
    (_, late) = scene.reports
    assert (late.waiting, late.seconds, late.is_late) == (0, 2.0, True)
    assert describe_loss(late) == (
        "the fibers of worker 2 (process 1002 on host), which was lost, have places again: 1 at "
        "worker 3 (process 9 on host), 2.0 s after it was seen"
    )


def test_loss_of_a_worker_without_fibers_is_not_reported() -> None:
    scene = Watched()
    scene.loses([])
    assert scene.reports == []


def test_report_does_not_wait_for_fibers_whose_run_has_ended() -> None:
    scene = Watched(ONE)
    scene.breaks(scene.worker)
    scene.says(1, m.WorkerExited(1000 + scene.worker, "killed", KILLED, []))
    scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))
    scene.tells(1, m.RunProgress(RUN, [], 1, [], 0))
    scene.tick(scene.now + 10.0)  # no worker has come for the fiber to release on
    assert scene.machine.features.loss_reports._loss_of == {}


def test_fiber_that_goes_on_comes_with_the_number_and_the_reason_of_its_losses() -> None:
    scene = Watched(ONE)
    for times in (1, 2):
        worker = scene.worker
        said = scene.loses([])
        (place,) = [each for _, each in said if isinstance(each, m.Place)]
        reason = f"worker {worker} (process {1000 + worker} on host) was lost: killed"
        assert place.restored == [(ONE, times, reason)]


def test_report_to_somebody_who_knows_of_no_fibers_speaks_of_calls() -> None:
    places = [("worker 3", 2)]
    one = m.LossReported("worker 2", "killed by SIGKILL", 0, 1, 0, 0, places)
    two = m.LossReported("worker 2", "killed by SIGKILL", 0, 2, 0, 0, places)
    late = m.LossReported("worker 2", "killed by SIGKILL", 0, 0, 0, 0, places, is_late=True)
    for report, said in (
        (one, "of its only packet of calls 1 begins again"),
        (two, "of its 2 packets of calls 2 begin again"),
        (late, "the calls of worker 2, which was lost, have places again"),
    ):
        assert said in describe_loss(report, of_calls=True)
        assert "fiber" not in describe_loss(report, of_calls=True)
        assert "calls" not in describe_loss(report)


def test_report_of_a_worker_that_has_left_does_not_call_it_lost() -> None:
    scene = Watched(ONE)
    scene.says(scene.worker, m.Leaving(10.0))
    scene.join("worker", family="f")
    said = scene.says(scene.worker, m.Goodbye())
    (place,) = [each for _, each in said if isinstance(each, m.Place)]
    assert place.restored == [(ONE, 1, "worker 2 (process 1002 on host) left the cluster")]
    (report,) = scene.reports
    line = describe_loss(report)
    assert "was lost" not in line
    assert line.startswith("worker 2 (process 1002 on host) left the cluster; of its only fiber 1 ")
    assert "1 at worker 3" in line
