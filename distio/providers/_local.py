"""Workers on this machine."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from distio.providers._programs import Programs, exit_in_words
from distio.runtime.keys_folder import KeysFolder
from distio.runtime.provider import KEYS, Command, Ended, Provider, State

__all__ = ["Local"]

_MAY_TAKE_SECONDS: Final = 5.0


@final
class Local(Provider):
    """Worker processes on this machine.

    >>> from distio import Cluster, io
    >>> from distio.providers import Local
    >>> with Cluster.start(Local(), workers=2) as cluster:
    ...     io.zip_par([io.pure(n) for n in range(3)]).run(None, on=cluster)
    Ok(success=[0, 1, 2])
    """

    def __init__(self) -> None:
        self._programs = Programs()
        self._numbers = itertools.count(1)
        self._keys: KeysFolder | None = None

    def start(self, command: Command, count: int) -> list[str]:
        names = [f"local-{next(self._numbers)}" for _ in range(count)]
        # they import what this program can
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        environment = {"PYTHONPATH": path, **command.environment}
        if command.keys:
            self._keys = self._keys or KeysFolder(command.keys)
            environment[KEYS] = str(self._keys.path)
        for index, name in enumerate(names):
            options = command.options(index, name)
            self._programs.start(
                name,
                [sys.executable, "-m", "distio_worker.main", *options, "--tethered"],
                environment=environment,
                patience=command.patience,
                explain=_explain,
            )
        return names

    def status(self, names: Sequence[str]) -> Mapping[str, State]:
        return self._programs.status(names)

    def stop(self, names: Sequence[str], seconds: float) -> None:
        self._programs.stop(names, seconds)

    def watch(self, changed: Callable[[], None]) -> bool:
        self._programs.changed = changed
        return True

    def close(self, names: Sequence[str]) -> None:
        self._programs.close(_MAY_TAKE_SECONDS)
        keys, self._keys = self._keys, None
        if keys is not None:
            keys.remove()


def _explain(code: int, lines: list[str]) -> Ended:
    return Ended(exit_in_words(code), "\n".join(lines), has_left=code == 0)
