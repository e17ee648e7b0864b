"""Journals in directories, with the turns of a simulated coordinator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest

from distio import Queue, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import Input, Turn, decode, encode, take_up_again
from distio.coordination.membership.handshakes import Handshakes
from distio.runtime.journal.checkpoints import dump, load
from distio.runtime.journal.journal import Journal, Limits
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
    "state_of",
    "states",
    "take_up",
]

TURNS: Final = 40
"""How many turns journals of tests have."""


def make(keep: Callable[[bytes], Any]) -> Handshakes:
    """The coordinator of a new journal."""
    return Handshakes(Coordinator(keep=keep), ignore)


def ignore(text: str) -> None:
    """Nobody reads this."""


def never(seconds: float) -> bool:
    """Nothing is to be waited for: the disk has room."""
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


@cache
def record() -> Sequence[bytes]:
    """The turns of a simulated coordinator."""
    turns: list[bytes] = []
    commit = MemoryJournal.commit

    def commit_and_note(journal: MemoryJournal, board: Handshakes) -> None:
        if journal._inputs:
            turns.append(encode(Turn(1e9 + len(turns), journal._inputs, board.messages_said)))
        commit(journal, board)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryJournal, "commit", commit_and_note)
        simulate(_program(), members=3, seed=1, faults=[Restart(event=40)])
    assert len(turns) > TURNS
    return turns[:TURNS]


def take_up(journal: Journal, board: Handshakes, inputs: Sequence[Input]) -> None:
    """Do what a coordinator does in a turn, but for sending."""
    for each in inputs:
        journal.note(each)
    take_up_again(board, inputs)
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
    copy.machine.features.timers.count_anew()  # whoever looks at the heap clears it
    assert blobs.next_number == board.machine.state.keep.next_number  # type: ignore[attr-defined]
    blobs._read = None  # type: ignore[assignment]
    return describe(copy)


@cache
def states() -> Sequence[Any]:
    """By turn, what a coordinator knows that has taken it up."""
    blobs = Blobs(lambda number: b"")
    board = make(blobs)
    found = [state_of(board)]
    for turn in record():
        take_up_again(board, decode(turn).inputs)
        blobs.commit()
        found.append(state_of(board))
    return found
