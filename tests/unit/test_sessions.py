"""Sessions: how many errands are under way, by how long they take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, final

import pytest

from distio import IO, Ok, Result, io
from distio._plain._calls import Calls
from distio._plain._session import Errand, Session, pieces_of
from distio.core.ops.bounded import ChunkResult
from tests.conftest import PATIENCE

SLOTS = 2


@final
class Elsewhere:
    """A place to which errands travel, where each ends when the test says so."""

    sends_ahead = True

    def __init__(self) -> None:
        self.under_way: list[Callable[[Result[Any, Any]], None]] = []

    def slots(self) -> int:
        return SLOTS

    def refresh(self) -> None:
        """The number of slots stays as it was."""

    def run(self, program: IO[Any, Any, Any]) -> Result[Any, Any]:
        return program.run(None)

    def programs_of(self, all_calls: list[Calls], session: Session) -> list[IO[Any, Any, Any]]:
        return [io.async_(lambda context, end: self.under_way.append(end)) for _ in all_calls]

    def prepared(self, f: Callable[..., Any]) -> Any:
        return f

    def end_one(self, seconds: float) -> None:
        """One errand has ended, which has taken so long."""
        self.under_way.pop()(Ok(ChunkResult([], [], seconds)))


@final
class Told(Errand):
    """An errand that knows whether it has ended."""

    def __init__(self) -> None:
        super().__init__(Calls(abs, [], is_spread=False))
        self.has_ended = threading.Event()

    def ended(self, result: Result[Any, ChunkResult]) -> None:
        self.has_ended.set()


@pytest.mark.parametrize(
    ("seconds", "for_each_slot"), [(0.001, 60), (0.02, 3), (0.05, 2), (0.2, 2), (0.5, 1), (60, 1)]
)
def test_session_sends_errands_ahead_unless_they_take_long(
    seconds: float, for_each_slot: int
) -> None:
    """A worker that has none when one has ended is idle until it has got the next."""
    place, first, rest = Elsewhere(), Told(), [Told() for _ in range(200)]
    session = Session(place)
    session.start(first)
    while not place.under_way:
        assert session._thread.is_alive()
    place.end_one(seconds)
    assert first.has_ended.wait(PATIENCE)
    session.start(*rest)
    assert len(session._under_way) == SLOTS * for_each_slot
    session.close()
    while session._under_way:
        if place.under_way:
            place.end_one(seconds)
    session.join(PATIENCE)
    assert all(each.has_ended.is_set() for each in rest)


@pytest.mark.parametrize(
    ("errands", "seconds", "pieces"),
    [(100, None, 16), (100, 1e-6, 2), (30, 0.002, 4), (3, 0.1, 16), (10_000, 0.002, 16)],
)
def test_errands_travel_in_pieces_of_some_work_each(
    errands: int, seconds: float | None, pieces: int
) -> None:
    assert pieces_of(errands, seconds, slots=SLOTS) == pieces
