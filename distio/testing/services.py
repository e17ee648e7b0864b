"""The services of a process for work, where there is one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distio.coordination.executor.services import OnLoop
from distio.core.fiber import Fiber
from distio.core.pickling.code_records import Comparison, Records, compare
from distio.core.pickling.copies import shared_by_fibers, why_numbers_repeat
from distio.core.pickling.generators import Departures
from distio.core.snapshot import why_it_cannot_ship
from distio.protocol.messages.logs import LogLevels
from distio.protocol.pieces import Bytes
from distio.result import Result
from distio.testing.environment import ProcessEnvironment

__all__ = ["AtOnce", "Services"]


class AtOnce:
    """Services that are done at once: in one thread, nothing is held up by them."""

    def hand(self) -> None:
        """None: nobody reads what is in hand."""

    loop_hand = tank = hand

    def may_call(self, fiber: Fiber) -> bool:
        """Any fiber may: where there is one thread, a process that must not step has no turn."""
        return True

    def run_in_thread(
        self, call: Callable[[], None], withdrawn: Callable[[], None], fiber: Fiber
    ) -> Callable[[], None]:
        """The call is made, and can't be withdrawn any more."""
        call()
        return lambda: None

    def on_main_thread(
        self, call: Callable[[], None], refuse: Callable[[], None], fiber: Fiber
    ) -> Callable[[], bool]:
        """The call is made as well: the one thread is the main thread."""
        call()
        return lambda: False

    def on_loop(self, fiber: Fiber, call: OnLoop) -> Callable[[], None]:
        """The coroutine is run to its end, on a loop of its own."""
        call.ended(asyncio.run(_result_of(call)))
        return lambda: None

    def watch(self, fiber: Fiber, stop: Callable[[], None]) -> None:
        """A function of the fiber runs a program: nothing else happens meanwhile."""

    def unwatch(self, fiber: Fiber) -> None:
        """The function of the fiber has run its program."""

    def compare_code(self, records: Records) -> Comparison:
        """Compare the code with that of this process, which is that of all that are simulated."""
        return compare(records)

    def use_archives(self, archives: Sequence[bytes], attachments: dict[bytes, Bytes]) -> None:
        """The code is there: all processes that are simulated are this one."""

    def use_log_levels(self, levels: Mapping[int, LogLevels]) -> None:
        """Fibers here log as this process does."""


async def _result_of(call: OnLoop) -> Result[Any, Any]:
    return await asyncio.create_task(call.coroutine(), context=call.variables)


class Services(AtOnce):
    """The services of a simulated process: the world has the time, the chance and the history.

    Args:
        world: the world.
        name: the name of the process in the history.
    """

    def __init__(self, world: ProcessEnvironment, name: str) -> None:
        self.name = name
        self._world = world
        self._departures = Departures()

    def wall_clock(self) -> float:
        """The world's."""
        return self._world.wall_clock()

    def random(self) -> float:
        """Draw a number by the world's seed."""
        return self._world.random()

    def on_unpicklable(self, fiber: Fiber) -> None:
        """Note the fiber for the caller of the simulation."""
        reason = why_it_cannot_ship(fiber)
        self._world.stayed[reason] = None
        self._world.note(self.name, "fiber {} can't be pickled and stays", (fiber.id,))

    def copied(self, fibers: Sequence[Fiber], generators: Sequence[Any]) -> None:
        """Note that several fibers take one of the generators along."""
        shared = shared_by_fibers(fibers, self._departures.note(generators))
        if shared is not None:
            self._world.copied[why_numbers_repeat(*shared)] = None
