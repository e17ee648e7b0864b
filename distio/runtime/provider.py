"""Providers: the objects of which a cluster asks to start workers on hosts, and how these are.

A provider places what it is given, and knows nothing of clusters. The names of what it has started
are its own words: an id of a job, a host and a number. The cluster knows the same worker by the
serial number in its command.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

__all__ = ["KEYS", "Command", "Ended", "Pending", "Provider", "Running", "State"]

KEYS: Final = "DISTIO_KEYS"
"""The environment variable that names the folder of a worker's keys."""
POLL_SECONDS: Final = 2.0


@final
@dataclass(frozen=True)
class Pending:
    """A worker that waits for a place."""

    reason: str = ""
    """The reason for the wait, in the words of the provider."""


@final
@dataclass(frozen=True)
class Running:
    """A worker that has a place."""


@final
@dataclass(frozen=True)
class Ended:
    """A worker that has ended.

    Args:
        reason: why, like "killed by SIGKILL" or "OUT_OF_MEMORY".
        log_tail: the last lines that it wrote.
        is_certain: whether the process of the worker is gone; False: perhaps only what tells of
            it, like the connection to its host.
        has_left: whether it has ended as it was told to.
    """

    reason: str
    log_tail: str = ""
    is_certain: bool = True
    has_left: bool = False


State = Pending | Running | Ended


@final
@dataclass(frozen=True)
class Command:
    """The command to run: `distio-worker`, with these arguments.

    Args:
        url: where the coordinator listens; a provider that carries the connection gives another.
        arguments: more of the command line.
        first: the serial number of the first worker that is started by this command.
        places: the places of the workers, among all that the cluster has, from 0. A worker that
            takes the place of one that has ended has the same.
        environment: variables beside those that are there.
        patience: for how many seconds the cluster may be silent.
        keys: the files of a worker's folder of keys, by name. A provider puts them where only this
            user can read them, and names the folder in the variable DISTIO_KEYS.
    """

    url: str
    arguments: Sequence[str] = ()
    first: int = 1
    places: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    patience: float = 30.0
    keys: Mapping[str, bytes] = field(default_factory=dict)

    def options(self, index: int, name: str, url: str = "") -> list[str]:
        """The command line after the name of the program, for one of the workers.

        Args:
            index: which of those that are started by this command, from 0.
            name: what the provider calls it.
            url: where the coordinator is, as seen from there.
        """
        return [*self.common(url), "--serial", str(self.first + index), "--name", name]

    def common(self, url: str = "") -> list[str]:
        """The arguments, without those that say which worker it is: `--serial` and `--name`."""
        return [url or self.url, *self.arguments, "--patience", f"{self.patience:g}"]


class Provider(ABC):
    """Starts workers on hosts; its methods are called on one thread, one at a time."""

    bind: str = ""
    """The address at which the coordinator is to listen; empty: a socket in a private directory."""
    poll_seconds: float = POLL_SECONDS
    """How often to ask for the status, in seconds, if changes can't be seen."""

    @abstractmethod
    def start(self, command: Command, count: int) -> list[str]:
        """Start so many workers.

        Returns:
            A name for each, in the order of their serial numbers.

        Raises:
            ClusterError: none could be started, and why.
        """

    @abstractmethod
    def status(self, names: Sequence[str]) -> Mapping[str, State]:
        """How those of these names are; one that isn't known any more may be left out.

        Raises:
            ClusterError: it can't be said now, and why.
        """

    @abstractmethod
    def stop(self, names: Sequence[str], seconds: float) -> None:
        """Have these end; returns at once.

        Args:
            names: which.
            seconds: how long they may take to leave; 0: they are ended now.
        """

    def leaving(self) -> Mapping[str, float]:
        """The workers whose place is about to be taken away, and in how many seconds."""
        return {}

    def watch(self, changed: Callable[[], None]) -> bool:
        """Call `changed`, from any thread, when a worker has joined or ended.

        Returns:
            Whether that can be seen; if not, the status is asked for now and then.
        """
        return False

    def close(self, names: Sequence[str]) -> None:
        """End those that are left, and let go of what was held."""
        if names:
            self.stop(names, 0.0)
