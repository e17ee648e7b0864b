"""Log records on their way to the programs that they belong to, and levels on their way back."""

from typing import ClassVar

import msgspec

from distio.protocol.base import EVERYBODY, WORKERS, CoordinatorMessage, MemberMessage, Payload
from distio.protocol.domains import Count, Id, Role

__all__ = ["LogLevels", "LogLevelsSet", "LogsHeard", "LogsRelayed", "RelayLogs", "SetLogLevels"]


class LogLevels(msgspec.Struct, frozen=True, gc=False):
    """The levels of a program's loggers.

    >>> levels = LogLevels(0, {"": 30, "kitchen": 10})
    >>> levels.of("kitchen.oven"), levels.of("cellar"), levels.let_through("cellar", 20)
    (10, 30, False)
    """

    disabled: int
    """No record at this level or below is logged (see `logging.disable`)."""
    levels: dict[str, int]
    """By name, the levels of loggers that have one of their own; the root's name is empty."""

    def of(self, name: str) -> int:
        """The level that counts for the logger of this name."""
        while name and name not in self.levels:
            name = name.rpartition(".")[0]
        return self.levels.get(name, 0)

    def let_through(self, name: str, level: int) -> bool:
        """Whether the logger of this name logs what is at this level."""
        return level > self.disabled and level >= self.of(name)


class SetLogLevels(MemberMessage, frozen=True, gc=False):
    """The levels for fibers of this client that are placed from now on."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY

    levels: LogLevels


class RelayLogs(MemberMessage, frozen=True, gc=False):
    """Log records of one run, for the client that has started it."""

    roles: ClassVar[frozenset[Role]] = WORKERS

    run: Id
    """0: no run's; they are for the client that has started this worker's process."""
    records: Payload
    """Opened by the client alone; empty: there are none."""
    omitted: Count = 0
    """How many records after these were left out, because too much was waiting."""
    count: Count = 0
    """The number of records."""


class LogsHeard(MemberMessage, frozen=True, gc=False):
    """The bytes of records that have come here since the last such message."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY

    bytes: Count


class LogLevelsSet(CoordinatorMessage, frozen=True, gc=False):
    """The levels that hold for the fibers of this client that come from now on."""

    is_counted: ClassVar[bool] = False

    client: Id
    levels: LogLevels | None
    """None: the client is gone."""


class LogsRelayed(CoordinatorMessage, frozen=True, gc=False):
    """Log records of a run of yours."""

    is_counted: ClassVar[bool] = False

    member: Id
    """The member that has made the records."""
    run: Id
    records: Payload
    omitted: Count = 0
