"""A simulated pool: the executors of one process.

A thread of a real pool is an `Executor` too. The system lets threads have their turns; the world
decides which executor has its turn.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import final

from distio.coordination.executor.executor import Executor
from distio.coordination.executor.tasks import Task
from distio.coordination.outcomes.tasks import FinishFiber
from distio.coordination.recovery.tasks import RepeatRequest, TakeSnapshots
from distio.core.fiber import Fiber
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.protocol import requests as rq
from distio.runtime.current import Hosting, on_behalf_of
from distio.testing.agenda import Action
from distio.testing.environment import PoolEnvironment
from distio.testing.stories import story_of_request

__all__ = ["Pool"]


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

    def add(self, executor: Executor, actor: int) -> None:
        """Another executor has its turns, as this actor, from now on."""
        self._executors.append((executor, (actor, self.settle, executor)))

    def clear(self) -> None:
        """No executor has a turn any more."""
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
        if work.unwinding is not None and work.request is None:
            world.ledger.cancelled(work.id)
        if self._host.member.is_running(work.run):
            world.ledger.stepped(work.id, work.epoch, self._name, world.now)
        executor.run()
        world.stepped(work, self._name)
        world.note(self._name, *story_of_request(work))

    def settle(self, executor: Executor) -> None:
        """The work of this executor takes effect; it may take the next in the same breath."""
        work, ready = executor.work, self._host.member.state.ready
        before = len(ready)
        is_going_on = executor.commit()
        if isinstance(work, Fiber):
            self._committed(work, executor)
        elif isinstance(work, FinishFiber):
            self._ended(work.fiber)
        elif isinstance(work, TakeSnapshots):
            if work.fiber is not None and type(work.fiber.request) is rq.Finished:
                self._committed(work.fiber, executor)
        elif isinstance(work, RepeatRequest):
            self._committed(work.fiber, executor)
        if len(ready) > before:
            self.note_woken(before, work)
        if is_going_on:
            self._run(executor)
        elif ready and self._world.pick(4) < 3:
            self._take(executor)
        else:
            self.owes_word = True
        self._changed()

    def _committed(self, fiber: Fiber, executor: Executor) -> None:
        world, request = self._world, fiber.request
        if not self._host.member.is_running(fiber.run):
            return
        if isinstance(request, rq.Spawn | rq.SpawnAt):
            children = [handle.id for handle in fiber.value]
            world.ledger.made(children, self._name)
            world.note(
                self._name, "fiber {} has started" + " {}" * len(children), [fiber.id, *children]
            )
        elif isinstance(request, rq.Sleep):
            world.ledger.sleeps(fiber.id, world.now + request.seconds)
        elif isinstance(request, rq.Finished) and executor.work is None:
            self._ended(fiber)

    def _ended(self, fiber: Fiber) -> None:
        if self._host.member.is_running(fiber.run):
            self._world.ledger.ended(fiber.id, self._name)
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
