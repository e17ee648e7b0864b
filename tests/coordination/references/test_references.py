"""Queues, variables and outcomes live as long as something can reach them."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Sequence
from typing import Any

import pytest

from distio import IO, Barrier, CountDownLatch, Deferred, Errors, Ok, PubSub, Queue, Var, io
from distio.coordination.feature.coordinator import CoordinatorFeature, Hooks
from distio.coordination.member import Member
from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.registry import NOWHERE, Run
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id, name_of
from tests.harness.members import World

Program = IO[Any, Any, Any]

MADE: dict[str, Program] = {
    "queue": Queue.create(),
    "bounded queue": Queue.create(3),
    "deferred": Deferred.create(),
    "topic": PubSub.create(),
    "barrier": Barrier.create(2),
    "latch": CountDownLatch.create(2),
    "variable": Var.create([1]),
}


def values(results: Sequence[Any]) -> list[Any]:
    """The values of fibers that have succeeded."""
    return [result.success for result in results]


class Cluster(World):
    """A cluster that counts what is left of a run while it goes on."""

    def settle(self) -> None:
        """Let members report everything that has died."""
        for _ in range(3):
            gc.collect()
            self.work()

    @property
    def left(self) -> int:
        """The number of keys that the coordinator counts; each stands for a primitive or value."""
        machine = self.coordinator
        there = machine.features.primitives._primitives.keys() | {
            key for keys in machine.features.locks._values_of_run.values() for key in keys
        }
        known = machine.features.references._known.items()
        assert there == {key for key, each in known if each.exposed is None}
        return len(there)

    @property
    def fibers_left(self) -> set[str]:
        """The fibers for which a member keeps a handle, or the coordinator a record or a count."""
        machine = self.coordinator
        known = machine.features.references._known.items()
        kept = {*machine.fibers, *[key for key, each in known if each.exposed is not None]}
        for node in self.nodes.values():
            member = node.member
            kept |= {
                *member.state.hosted,
                *member.features.references._exposed,
                *member.state.awaited,
            }
            kept |= {fiber for run in member.state.runs.values() for fiber in run.known}
        return {name_of(fiber) for fiber in kept}

    def run_to_sleep(self, program: Program) -> Any:
        """Run a program; returns its result while the run goes on."""
        seen: list[Any] = []
        self.start(program.attempt().map(seen.append).then(io.sleep(1)))
        self.work()
        self.settle()
        assert seen, "the program hasn't come to its end"
        return seen[0]


# -- made and dropped -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MADE)
def test_primitive_that_is_made_and_dropped_is_freed_while_the_run_goes_on(kind: str) -> None:
    cluster = Cluster(workers=0, offers_children=False)
    assert cluster.run_to_sleep(MADE[kind].map(lambda made: 1)) == Ok(1)
    assert cluster.left == 0


@pytest.mark.parametrize("kind", MADE)
def test_primitive_lives_while_a_handle_or_a_copy_of_it_lives(kind: str) -> None:
    cluster = Cluster(workers=0, offers_children=False)
    kept: list[Any] = []
    cluster.run_to_sleep(MADE[kind].map(kept.append))
    assert cluster.left == 1
    copies = [copy.copy(kept[0]), copy.deepcopy(kept[0])]
    kept.clear()
    cluster.settle()
    assert cluster.left == 1
    copies.clear()
    cluster.settle()
    assert cluster.left == 0


def test_primitive_at_which_a_parked_fiber_waits_lives() -> None:
    cluster = Cluster(workers=0, offers_children=False)
    kept: list[Any] = []
    waits = Deferred.create().flat_map(lambda made: io.defer(kept.append, made).then(made.get()))
    cluster.start(waits)
    cluster.work()
    (made,) = kept
    cluster.start(io.pure(1))
    kept.clear()
    del made
    cluster.settle()
    assert cluster.left <= 1


def test_primitive_that_a_program_has_pickled_lives_with_its_run() -> None:
    cluster = Cluster(workers=0, offers_children=False)
    outcome = cluster.run_to_sleep(Queue.create().map(pickle.dumps))
    assert cluster.left == 1
    again = pickle.loads(outcome.success)
    del again
    cluster.settle()
    assert cluster.left == 1
    cluster.pass_time(1)
    cluster.work()
    assert len(cluster.coordinator.features.references) == 0


def test_variable_that_is_dropped_while_its_lock_is_held_is_freed() -> None:
    cluster = Cluster(workers=0, offers_children=False)
    used = Var.create(0).flat_map(lambda var: var.update(lambda n: (n + 1, None)))
    assert cluster.run_to_sleep(used).success.new_value == 1
    assert cluster.left == 0
    assert not cluster[1].features.locks.leftovers()["locks"]


# -- travelling -------------------------------------------------------------------------------


def ask(questions: Queue[Any], n: int) -> Program:
    made = Deferred.create()
    asked: Program = made.flat_map(lambda reply: questions.put((n, reply)).then(reply.get()))
    return asked


def answer(questions: Queue[Any]) -> Program:
    return questions.take().flat_map(lambda question: question[1].set(question[0] + 1))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_deferred_for_each_question_is_freed_when_it_was_answered(workers: int) -> None:
    cluster = Cluster(workers=workers, offers_children=workers > 0)

    def both(questions: Queue[Any]) -> Program:
        asks = io.traverse_par(range(20), lambda n: ask(questions, n))
        answers = io.zip_par([answer(questions)] * 20)
        return io.zip_par(asks, answers).map(lambda results: results[0])

    assert cluster.run_to_sleep(Queue.create().flat_map(both)) == Ok(list(range(1, 21)))
    assert cluster.left == 0


def test_deferred_that_a_child_on_a_worker_has_captured_lives_as_long_as_the_child() -> None:
    cluster = Cluster(workers=1)

    def start(made: Deferred[Any]) -> Program:
        late = io.sleep(0.5).then(made.set("late"), made.get())
        return io.parallel(late)

    cluster.run_to_sleep(Deferred.create().flat_map(start).map(len))
    assert cluster.left == 1
    cluster.now = 0.5
    cluster.pass_time(0.0)
    cluster.settle()
    assert cluster.left == 0


def test_item_that_no_fiber_takes_keeps_the_primitives_in_it() -> None:
    cluster = Cluster(workers=1)
    kept: list[Any] = []

    def fill(made: Any) -> Program:
        queue, reply = made
        filled: Program = queue.put(reply).then(io.defer(kept.append, queue))
        return filled

    program = io.zip(Queue.create(), Deferred.create()).flat_map(fill)
    cluster.run_to_sleep(program)
    assert cluster.left == 2
    took = cluster.run_to_sleep(io.pure(None))
    assert took == Ok(None)
    kept.clear()
    cluster.settle()
    assert cluster.left == 0


def test_queue_that_has_travelled_in_an_outcome_is_freed_when_it_is_dropped() -> None:
    cluster = Cluster(workers=1)
    kept: list[Any] = []
    made = io.parallel(io.defer_io(Queue[int].create)).flat_map(io.wait)
    cluster.run_to_sleep(made.map(lambda results: kept.extend(results)))
    assert cluster.left == 1
    kept.clear()
    cluster.settle()
    assert cluster.left == 0


def test_queue_in_the_value_of_a_variable_lives_with_its_run() -> None:
    cluster = Cluster(workers=1)
    cluster.run_to_sleep(Queue.create().flat_map(Var.create).map(lambda var: None))
    assert cluster.left == 1


# -- handles of fibers ------------------------------------------------------------------------


def test_handle_that_has_travelled_in_an_outcome_is_forgotten_when_it_is_dropped() -> None:
    cluster = Cluster(workers=1)
    kept: list[Any] = []
    made = io.parallel(io.parallel(io.pure(1))).flat_map(io.wait)
    cluster.run_to_sleep(made.map(lambda results: kept.extend(values(results)[0])))
    (handle,) = kept
    assert cluster.fibers_left == {name_of(handle.id)}
    del handle
    kept.clear()
    cluster.settle()
    assert cluster.fibers_left == set()


def test_handle_that_has_travelled_keeps_the_outcome() -> None:
    cluster = Cluster(workers=1)
    made = io.parallel(io.parallel(io.pure(1))).flat_map(io.wait)
    late = made.flat_map(lambda results: io.sleep(0.5).then(io.wait(values(results)[0])))
    seen: list[Any] = []
    cluster.start(late.map(seen.append).then(io.sleep(1)))
    cluster.settle()
    cluster.pass_time(0.5)
    cluster.settle()
    assert seen == [[Ok(1)]]
    seen.clear()
    assert cluster.fibers_left == set()


def test_handle_that_a_fiber_on_another_member_has_captured_keeps_the_outcome() -> None:
    cluster = Cluster(workers=1)

    def watch(fibers: Any) -> Program:
        late = io.sleep(0.5).then(io.wait(fibers))
        return io.parallel(late)

    started = io.parallel(io.pure(1)).flat_map(watch).flat_map(io.wait)
    seen: list[Any] = []
    cluster.start(started.map(seen.append).then(io.sleep(1)))
    cluster.settle()
    cluster.pass_time(0.5)
    cluster.settle()
    assert seen == [[Ok([Ok(1)])]]
    assert cluster.fibers_left == set()


def test_handle_in_the_value_of_a_variable_is_kept_until_its_run_ends() -> None:
    cluster = Cluster(workers=1)
    made = io.parallel(io.pure(1)).flat_map(Var.create)
    cluster.run_to_sleep(made.map(lambda var: None))
    assert cluster.fibers_left == {"1.1"}
    cluster.pass_time(1)
    assert cluster.fibers_left == set()


def test_handle_in_an_item_keeps_the_outcome_until_the_item_is_dropped() -> None:
    cluster = Cluster(workers=1)
    kept: list[Any] = []

    def fill(queue: Queue[Any]) -> Program:
        filled: Program = io.parallel(io.pure(1)).flat_map(queue.put)
        return filled.then(io.defer(kept.append, queue))

    cluster.run_to_sleep(Queue.create().flat_map(fill))
    assert cluster.fibers_left == {"1.2"}  # 1.1 is the queue
    kept.clear()
    cluster.settle()
    assert cluster.fibers_left == set()


def test_handle_that_leaves_while_its_outcome_is_to_be_dropped_is_kept() -> None:
    member = Member(2)
    root = member.start_root(io.pure(0), None)
    handle = root.handle
    assert handle is not None
    member.features.references.export(
        [handle]
    )  # the coordinator has heard of it once, and everybody has dropped it
    member.features.references.export([handle])
    member.receive(m.DropOutcomes([(root.id, 1)]))
    assert root.id in member.state.hosted
    member.receive(m.DropOutcomes([(root.id, 1)]))
    assert root.id not in member.state.hosted


def test_failure_whose_last_handle_dies_on_another_member_is_reported() -> None:
    cluster = Cluster(workers=1)
    kept: list[Any] = []
    made = io.parallel(io.parallel(io.error("lost"))).flat_map(io.wait)
    cluster.run_to_sleep(made.map(lambda results: kept.extend(values(results)[0])))
    failures = cluster[2].features.failures
    assert failures.take() is None
    kept.clear()
    cluster.settle()
    failure = failures.take()
    assert failure is not None
    assert failure.result == Errors(["lost"])


def test_item_that_a_queue_refuses_keeps_nothing_alive() -> None:
    cluster = Cluster(workers=0, offers_children=False)
    kept: list[Any] = []

    def offer(queue: Queue[Any]) -> Program:
        refused = Deferred.create().flat_map(queue.offer)
        return io.defer(kept.append, queue).then(queue.put(1), refused)

    assert cluster.run_to_sleep(Queue.create(1).flat_map(offer)) == Ok(False)
    assert cluster.left == 1


# -- the counts -------------------------------------------------------------------------------

RUN = fiber_id(1, 0)


class Freed(CoordinatorFeature):
    """Notes which keys nobody can reach any more."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    def key_unreachable(self, run: int, key: int) -> None:
        self.keys.append(key)


def counted() -> tuple[References, list[int]]:
    freed = Freed()
    state = CoordinatorState()
    state.hooks = Hooks([freed])
    references = References(state)
    references.made(RUN, 7, member=1)
    return references, freed.keys


def test_reference_is_freed_when_its_maker_gives_it_back() -> None:
    references, freed = counted()
    references.given_back(1, [(7, 1)])
    assert freed == [7]
    assert len(references) == 0


def test_payload_at_the_coordinator_keeps_the_references_in_it() -> None:
    references, freed = counted()
    references.came([7])
    references.given_back(1, [(7, 1)])
    assert freed == []
    references.gone([7])
    assert freed == [7]


def test_payload_on_its_way_keeps_the_references_in_it() -> None:
    """The references that a member gives back cross the payload that is sent to it."""
    references, freed = counted()
    references.came([7])
    references.sent([7], 2)
    references.given_back(1, [(7, 1)])
    references.sent([7], 2)
    references.gone([7])
    references.given_back(2, [(7, 1)])
    assert freed == []
    references.validate()
    references.given_back(2, [(7, 1)])
    assert freed == [7]


def test_reference_that_is_freed_frees_the_references_in_it() -> None:
    references, freed = counted()
    references.made(RUN, 8, member=1)
    references.made(RUN, 9, member=1)
    references.came([8], within=7)
    references.came([9], within=8)
    references.given_back(1, [(8, 1), (9, 1)])
    assert freed == []
    references.given_back(1, [(7, 1)])
    assert freed == [7, 8, 9]


def test_chunk_that_is_dropped_here_keeps_nothing() -> None:
    references, freed = counted()
    chunk = m.Chunk(fiber_id(2, 0), [], b"", references=[7])
    references.came(chunk.references)
    references.given_back(1, [(7, 1)])
    references.fibers_dropped(2, chunk)  # it had not come
    assert freed == []
    references.fibers_dropped(NOWHERE, chunk)
    assert freed == [7]


def test_reference_to_itself_ends_with_its_run() -> None:
    references, freed = counted()
    references.came([7], within=7)
    references.given_back(1, [(7, 1)])
    assert freed == []
    references.run_ended(RUN, Run(1))
    assert len(references) == 0


def test_reference_that_is_given_back_after_its_run_is_ignored() -> None:
    references, _ = counted()
    references.run_ended(RUN, Run(1))
    references.given_back(1, [(7, 1)])
    references.came([7])
    references.sent([7], 2)
    references.gone([7])
    assert len(references) == 0


def test_member_gives_back_many_keys_in_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distio.coordination.references.member.MOST_GIVEN_BACK", 3)
    member = Member(1)
    member.state.given_back.extend((key, 1) for key in range(7))
    for count in (3, 3, 1):
        assert member.has_news
        member.flush()
        (given,) = [each for each in member.take_outbox() if isinstance(each, m.GiveBack)]
        assert len(given.counts) == count
    assert not member.has_news
