"""The journal of a simulated coordinator: what a disk would have of it."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import Input, Turn, decode, encode, take_up_again
from distio.coordination.journal.payloads import with_bytes, with_numbers
from distio.coordination.membership.handshakes import Handshakes
from distio.runtime.journal.checkpoints import dump, load

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Keeps turns, blobs and checkpoints as bytes, as `runtime.journal` does in a directory.

    Args:
        is_due: says after each turn whether a checkpoint is made.
    """

    def __init__(self, is_due: Callable[[], bool]) -> None:
        self.blobs = Blobs(self._read)
        self._is_due = is_due
        self._inputs: list[Input] = []
        self._next_blobs: list[int] = []
        self._turns: list[bytes] = []
        self._stored: dict[int, bytes] = {}
        self._checkpoint: bytes | None = None

    def _read(self, number: int) -> bytes:
        return self._stored[number]

    def take_in(self, board: Handshakes, input: Input) -> None:
        """Tell the coordinator, in the turn that is under way."""
        self._inputs.append(input)
        self._next_blobs.append(self.blobs.next_number)
        input.take_up(board)

    def commit(self, board: Handshakes) -> None:
        """End the turn: it survives the end of the coordinator."""
        if not self._inputs:
            return
        inputs = with_numbers(self._inputs, self._next_blobs, self.blobs.fresh)
        self._turns.append(encode(Turn(0.0, inputs, board.messages_said)))
        self._stored.update(self.blobs.fresh)
        self._inputs, self._next_blobs = [], []
        self.blobs.commit()

    def may_check(self, board: Handshakes) -> None:
        """Between two turns: make a checkpoint, if that is due."""
        if self._turns and self._is_due():
            file = BytesIO()
            dump(board, file)
            self._checkpoint = file.getvalue()
            self._turns.clear()
            for number in self.blobs.dropped:
                del self._stored[number]
            self.blobs.dropped.clear()

    def lose(self, turns: int) -> int:
        """Lose so many turns at its end, but none that the checkpoint includes.

        Returns:
            How many are lost.
        """
        kept = max(0, len(self._turns) - turns)
        lost = len(self._turns) - kept
        del self._turns[kept:]
        return lost

    def recover(self, make: Callable[[Blobs], Handshakes]) -> Handshakes:
        """The coordinator as it was when the last turn was committed."""
        self._inputs, self._next_blobs = [], []
        if self._checkpoint is None:
            self.blobs = Blobs(self._read)
            board = make(self.blobs)
        else:
            board, self.blobs = load(BytesIO(self._checkpoint), self._read)
        for turn in self._turns:
            taken = decode(turn)
            inputs, _ = with_bytes(taken.inputs, self._read)
            take_up_again(board, inputs)
            assert board.messages_said == taken.said, (
                "the coordinator isn't a function of its inputs"
            )
            self.blobs.commit()
        return board
