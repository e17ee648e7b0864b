"""Journals in directories, with the turns of a simulated coordinator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from distio import IO, Queue, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import Input, Turn, decode, encode, take_up_again
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.state.store import Keep
from distio.runtime.journal.checkpoints import dump, load
from distio.runtime.journal.journal import Journal
from distio.runtime.journal.limits import Limits
from distio.testing import Restart, simulate
from distio.testing.journal import MemoryJournal
from tests.coordination.test_coordinator_inputs import describe

__all__ = [
    "TURNS",
    "fill",
    "ignore",
    "make",
    "never",
    "opened",
    "record",
    "record_of_saving",
    "state_of",
    "states",
    "take_up",
]

TURNS: Final = 40
"""How many turns journals of tests have."""


def make(keep: Keep) -> Handshakes:
    """The coordinator of a new journal."""
    return Handshakes(Coordinator(keep=keep), ignore)


def ignore(text: str) -> None:
    """Drop a line that nobody reads."""


def never(seconds: float) -> bool:
    """Fail instead of waiting: the disk has room."""
    raise AssertionError("the journal can't be written")


@io.do
async def _program() -> int:
    """Fibers whose snapshots are blobs, and some that are small."""
    queue = await Queue.create()
    large = bytes(3_000)

    @io.do
    async def child(n: int, data: bytes) -> int:
        await io.yield_
        await queue.put(n)
        await io.sleep(0.01)
        return n + len(data)

    fibers = await io.parallel([child(n, large if n % 2 else b"") for n in range(6)])
    for _ in fibers:
        await queue.take()
    await io.wait(fibers)
    return len(fibers)


def _saving() -> IO[Any, Any, list[int]]:
    """Fibers that are saved again and again, each time as another blob."""

    def go_on(n: int, left: int) -> IO[Any, Any, int]:
        data = Random(10 * n + left).randbytes(3_000)

        def end(_: object) -> IO[Any, Any, int]:
            return go_on(n, left - 1) if left else io.pure(len(data))

        return io.checkpoint.then(io.sleep(0.01)).flat_map(end)

    return io.zip_par([go_on(n, 4) for n in range(4)])


def _turns_of(program: IO[Any, Any, Any], restart_at: int) -> list[bytes]:
    """The turns of a simulated coordinator."""
    turns: list[bytes] = []
    commit = MemoryJournal.commit

    def commit_and_note(journal: MemoryJournal, board: Handshakes) -> None:
        if journal._inputs:
            turns.append(encode(Turn(1e9 + len(turns), journal._inputs, board.messages_said)))
        commit(journal, board)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryJournal, "commit", commit_and_note)
        simulate(program, members=3, seed=1, faults=[Restart(event=restart_at)])
    return turns


@cache
def record() -> Sequence[bytes]:
    """The turns of a simulated coordinator."""
    turns = _turns_of(_program(), restart_at=40)
    assert len(turns) > TURNS
    return turns[:TURNS]


@cache
def record_of_saving() -> Sequence[bytes]:
    """The turns of another one, which has a few blobs at a time, and more and more in all."""
    return _turns_of(_saving(), restart_at=400)


def take_up(journal: Journal, board: Handshakes, inputs: Sequence[Input]) -> None:
    """Do what a coordinator does in a turn, but for sending."""
    for each in inputs:
        journal.note(each)
        each.take_up(board)
    take_up_again(board, [])
    journal.commit(never)


def opened(directory: Path | str, limits: Limits | None = None, **options: Any) -> Journal:
    """The journal in a directory, held by this process."""
    return Journal(directory, complain=ignore, limits=limits, **options)


def fill(
    journal: Journal, *, first: int = 0, last: int = TURNS, checkpoint_at: int | None = None
) -> Handshakes:
    """Take up turns, and make a checkpoint after so many of them."""
    board = journal.recover(make)
    for number, turn in enumerate(record()[first:last], first + 1):
        take_up(journal, board, decode(turn).inputs)
        if number == checkpoint_at:
            journal.checkpoint_now(board)
    return board


def state_of(board: Handshakes) -> Any:
    """All that a coordinator knows, as plain data."""
    file = BytesIO()
    dump(board, file)
    file.seek(0)
    copy, blobs = load(file, lambda number: b"")
    copy.machine.features.timers.count_anew()  # a look at the heap clears it
    assert blobs.next_number == board.machine.state.keep.next_number  # type: ignore[attr-defined]
    blobs._read = None  # type: ignore[assignment]
    return describe(copy)


@cache
def states(record: Callable[[], Sequence[bytes]] = record) -> Sequence[Any]:
    """By turn, what a coordinator knows that has taken it up."""
    blobs = Blobs(lambda number: b"")
    board = make(blobs)
    found = [state_of(board)]
    for turn in record():
        take_up_again(board, decode(turn).inputs)
        blobs.commit()
        found.append(state_of(board))
    return found
