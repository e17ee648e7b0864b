"""A session whose program is stepped by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from distio import IO, Ok, io
from distio._plain._calls import Calls
from distio._plain._session import Errand, Session
from distio.core.ops.bounded import ChunkResult
from distio.result import Result
from tests.conftest import PATIENCE
from tests.harness.members import World, outcome_of

Program = IO[Any, Any, Any]
MADE = ChunkResult([7], [], 0.0)


class Held:
    """A place that hands the program of its session to the test."""

    sends_ahead = False

    def __init__(self) -> None:
        self.programs: SimpleQueue[Program] = SimpleQueue()
        self.is_over = threading.Event()

    def slots(self) -> int:
        return 1

    def refresh(self) -> None:
        """There is one slot."""

    def run(self, program: Program) -> Result[Any, Any]:
        self.programs.put(program)
        assert self.is_over.wait(PATIENCE)
        return Ok(None)

    def programs_of(self, all_calls: list[Calls], session: Session) -> list[Program]:
        return [io.sleep(1).then(io.pure(MADE)) for _ in all_calls]

    def prepared(self, f: Callable[..., Any]) -> Any:
        return f


class Noted(Errand):
    """Calls whose ends are noted."""

    def __init__(self) -> None:
        super().__init__(Calls(abs, [-7], False))
        self.ends: list[Any] = []

    def ended(self, result: Any) -> None:
        self.ends.append(result)


@pytest.fixture
def place() -> Iterator[Held]:
    place = Held()
    yield place
    place.is_over.set()


@pytest.mark.parametrize("closed_by", [Session.close, Session.retire])
def test_session_goes_on_until_calls_under_way_were_told_their_end(
    place: Held, closed_by: Callable[[Session], None]
) -> None:
    session, errand, world = Session(place), Noted(), World(workers=0, offers_children=False)
    root = world.start(place.programs.get(timeout=PATIENCE))
    world.work()
    session.start(errand)
    world.work()
    closed_by(session)
    world.work()
    assert (root.outcome, errand.ends) == (None, [])
    world.pass_time(1)
    assert (outcome_of(root), errand.ends) == (Ok(None), [Ok(MADE)])
    assert world.is_empty()
