"""A simulated pool: the executors of one process.

A thread of a real pool is an `Executor` too. The system lets threads have their turns; the world
decides which executor has its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, final

from distio.coordination.executor.executor import Executor
from distio.coordination.executor.tasks import Task
from distio.coordination.outcomes.tasks import FinishFiber
from distio.coordination.pressure.tasks import AskAgain
from distio.coordination.recovery.tasks import RepeatRequest, TakeSnapshots
from distio.core.fiber import Fiber
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.requests.base import Request
from distio.runtime.current import Hosting, on_behalf_of
from distio.testing.agenda import Action
from distio.testing.environment import PoolEnvironment
from distio.testing.stories import story_of_request

__all__ = ["Pool"]

_ACT_FOR_FIBERS: Final = (TakeSnapshots, RepeatRequest, AskAgain)
_START_FIBERS: Final = (rq.Spawn, rq.SpawnHere, rq.CallActor)
"""Named here: a union of types that is written in a call is made anew for each event."""


@final
class Pool:
    """Executors that take work, run it and commit it when the world says so.

    Args:
        world: knows the time, the choices, the ledger and the history.
        host: the process.
        name: the name of the process in histories.
        space: the values that the process has opened.
        changed: called whenever an executor has taken work or committed it.
    """

    def __init__(
        self,
        world: PoolEnvironment,
        host: Hosting,
        name: str,
        space: ObjectSpace,
        changed: Callable[[], None],
    ) -> None:
        self._world = world
        self._host = host
        self._name = name
        self._space = space
        self._changed = changed
        self._executors: list[tuple[Executor, Action]] = []
        self.owes_word = False
        """Whether an idle executor would tell how things are here."""
        self.is_believed = True
        """Whether what fibers do here counts: the coordinator hasn't lost this process."""

    def add(self, executor: Executor, actor: int) -> None:
        """Another executor has its turns, as this actor, from now on."""
        self._executors.append((executor, (actor, self.settle, executor)))

    def clear(self) -> None:
        """Drop all executors: none has a turn any more."""
        self._executors.clear()

    @property
    def has_idle_executor(self) -> bool:
        """Whether an executor has no work."""
        return len(self.commits()) < len(self._executors)

    @property
    def size(self) -> int:
        """The number of executors."""
        return len(self._executors)

    def commits(self) -> list[Action]:
        """The commits that could happen now."""
        return [action for executor, action in self._executors if executor.work is not None]

    def in_hand(self) -> list[Fiber | Task]:
        """The work that executors have taken and not committed yet."""
        return [executor.work for executor, _ in self._executors if executor.work is not None]

    def take(self, _: None) -> None:
        """An idle executor takes one of the ready fibers, and runs it."""
        self._take(next(executor for executor, _ in self._executors if executor.work is None))
        self._changed()

    def _take(self, executor: Executor) -> None:
        if executor.next_task(self._world.pick(len(self._host.member.state.ready))):
            self._run(executor)
        else:
            self.owes_word = True

    def _run(self, executor: Executor) -> None:
        with on_behalf_of(executor, self._host), use_space(self._space):
            self._run_work(executor)

    def _run_work(self, executor: Executor) -> None:
        world, work = self._world, executor.work
        if not isinstance(work, Fiber):
            executor.run()
            return
        if not self.is_believed:
            self._require_alone(work)
        if work.unwinding is not None and work.request is None:
            world.ledger.cancelled(work.id)
        counts = self._counts(work)
        if counts:
            if work.id in self._host.member.features.actors.carriers():
                world.ledger.set_out(work.id, self._name)  # no fiber has started it
            world.ledger.stepped(work.id, work.epoch, self._name, world.now)
            world.calls.resumed(work)
        executor.run()
        if counts:
            world.calls.asked(work, self._host)
        world.stepped(work, self._name)
        world.note(self._name, *story_of_request(work))

    def _require_alone(self, fiber: Fiber) -> None:
        """The coordinator has lost this process, so its fibers may go on elsewhere."""
        state = self._host.member.state
        run = state.runs.get(fiber.run)
        if run is not None and run.snapshots != "off" and not state.is_leaving:
            self._world.ledger.stepped_by_lost(fiber.id, self._name)

    def _counts(self, fiber: Fiber) -> bool:
        """Whether anybody will know what this fiber does."""
        return self.is_believed and self._host.member.is_running(fiber.run)

    def settle(self, executor: Executor) -> None:
        """The work of this executor takes effect; it may take the next in the same breath."""
        work, state = executor.work, self._host.member.state
        ready = state.ready
        before, said = len(ready), len(state.outbox)
        acting = work.fiber if isinstance(work, _ACT_FOR_FIBERS) else work
        request = acting.request if isinstance(acting, Fiber) else None
        is_going_on = executor.commit()
        if self.is_believed and len(state.outbox) > said:
            self._note_snapshots(state.outbox[said:])
        if isinstance(acting, Fiber) and _is_saved_first(acting, executor):
            pass  # it is answered when that is done
        elif isinstance(acting, Fiber):
            self._committed(acting, request, executor)
        elif isinstance(work, FinishFiber):
            self._ended(work.fiber)
        if len(ready) > before:
            self.note_woken(before, work)
        if is_going_on:
            self._run(executor)
        elif ready and self._world.pick(4) < 3:
            self._take(executor)
        else:
            self.owes_word = True
        self._changed()

    def _note_snapshots(self, said: Sequence[m.MemberMessage]) -> None:
        for message in said:
            for chunk in message.chunks if isinstance(message, m.SaveFibers) else ():
                for fiber, _ in chunk.fibers:
                    self._world.calls.saved(fiber, is_waiting=chunk.is_waiting)

    def _committed(self, fiber: Fiber, asked: Request | None, executor: Executor) -> None:
        if not self._host.member.is_running(fiber.run):
            return
        if isinstance(fiber.request, _START_FIBERS) and fiber.id in self._host.member.state.parked:
            return  # it starts them later
        if self.is_believed:
            self._keep_books(fiber, asked)
        if isinstance(fiber.request, _START_FIBERS):
            children = [handle.id for handle in fiber.value]
            self._world.note(
                self._name, "fiber {} has started" + " {}" * len(children), [fiber.id, *children]
            )
        elif isinstance(fiber.request, rq.Finished) and executor.work is None:
            self._ended_unless_held_back(fiber)

    def _keep_books(self, fiber: Fiber, asked: Request | None) -> None:
        world, request = self._world, fiber.request
        if isinstance(request, _START_FIBERS):
            owner = fiber.id if isinstance(request, rq.Spawn) and request.are_owned else 0
            world.ledger.made([handle.id for handle in fiber.value], self._name, owner)
        elif isinstance(request, rq.Sleep):
            if request.is_repeated:
                world.ledger.sleeps_on(fiber.id, request.seconds)
            else:
                world.ledger.sleeps(fiber.id, world.now, request.seconds)
        is_parked = fiber.id in self._host.member.state.parked
        world.calls.committed(fiber, asked, self._host, is_parked)

    def _ended_unless_held_back(self, fiber: Fiber) -> None:
        if fiber.handle is None or fiber.handle.outcome is not None:
            self._ended(fiber)

    def _ended(self, fiber: Fiber) -> None:
        if not self._host.member.is_running(fiber.run):
            return
        if self.is_believed:
            is_cut = bool(fiber.unwinding or fiber.pending_cancels)
            self._world.ledger.ended(fiber.id, self._name, self._world.now, is_cancelled=is_cut)
            self._world.calls.ended(fiber)
        self._world.note(self._name, "fiber {} has ended", (fiber.id,))

    def note_woken(self, before: int, cause: object = None) -> None:
        """Write a line of history for each fiber that has become ready.

        Args:
            before: how many were ready then.
            cause: a fiber that is no news.
        """
        ready = self._host.member.state.ready
        for work in islice(ready, before, None):
            if isinstance(work, Fiber) and work is not cause:
                self._world.note(self._name, "fiber {} is ready", (work.id,))


def _is_saved_first(fiber: Fiber, executor: Executor) -> bool:
    """Whether the request of this fiber is answered when a snapshot of it was taken."""
    return isinstance(executor.work, TakeSnapshots) and executor.work.fiber is fiber
