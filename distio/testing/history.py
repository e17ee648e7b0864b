"""The history of a simulation, in lines that a person can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

from distio.core.fiber import Handle
from distio.errors import MatchError
from distio.protocol.ids import fiber_id, name_of

__all__ = ["History"]


Entry = tuple[float, str, str, Sequence[int]]
"""The virtual time, who it is about, what happens, and the fibers, first those that `what` names.

A plain tuple: a simulation writes an entry for almost every event, and most are never read.
"""


def _line(entry: Entry) -> str:
    seconds, who, what, fibers = entry
    return f"{seconds:.6f} {who}: {what.format(*map(name_of, fibers))}"


@final
class History(Sequence[str]):
    """The lines of one simulation, in the order in which things happened.

    A history is a sequence of strings; `str(history)` is the whole text.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def add(self, seconds: float, who: str, what: str, fibers: Sequence[int] = ()) -> None:
        """Add a line.

        Args:
            seconds: the virtual time since the simulation began.
            who: the process it is about.
            what: what happens; each `{}` in it stands for the name of a fiber.
            fibers: all that it is about, first those that `what` names.
        """
        self._entries.append((seconds, who, what, fibers))

    def of(self, fiber: Handle[Any, Any, Any] | int | str) -> list[str]:
        """The lines about one fiber: its whole life.

        Args:
            fiber: its handle, its id, or its name as in the lines ("1.3").

        Raises:
            MatchError: `fiber` is something else.
        """
        id = _id_of(fiber)
        return [_line(entry) for entry in self._entries if id in entry[3]]

    @property
    def fingerprint(self) -> int:
        """A number that equal histories share, to count distinct ones in one process."""
        return hash(
            tuple([(seconds, who, what, *fibers) for seconds, who, what, fibers in self._entries])
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [_line(entry) for entry in self._entries[index]]
        return _line(self._entries[index])

    def __iter__(self) -> Iterator[str]:
        return map(_line, self._entries)

    def __str__(self) -> str:
        return "\n".join(self)

    def __repr__(self) -> str:
        return f"<history of {len(self)} lines>"


def _id_of(fiber: Any) -> int:
    if isinstance(fiber, Handle):
        return fiber.id
    if isinstance(fiber, int):
        return fiber
    if isinstance(fiber, str):
        home, _, sequence = fiber.removeprefix("fiber ").partition(".")
        if home.isdecimal() and sequence.isdecimal():
            return fiber_id(int(home), int(sequence))
    raise MatchError(
        f"history.of: expected a fiber, its id, or its name as '1.3', but got {fiber!r}"
    )
