"""The state of the process that functions run in, as a program changes it while it runs.

Rules
-----
- Workers that a program shares among its calls start with the first of these. What the program
  changes of its own process since goes with later calls: variables of the environment, the working
  directory, settings of the interpreter.
- All that has ever changed is told, as it is now. So a worker that takes the place of a lost one,
  or that has missed changes, gets the same.
- A worker takes over changes before it makes the calls that have brought them. It never goes back
  to earlier ones, which calls may bring that were under way.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, final

from distio.runtime.interpreter_settings import interpreter_settings, set_interpreter

__all__ = ["Changes", "ChangingState"]


class _State(NamedTuple):
    environment: dict[str, str]
    directory: str | None
    """None: it can't be told."""
    settings: dict[str, Any]


def _state_now() -> _State:
    try:
        directory = os.getcwd()
    except OSError:  # it was removed, for example
        directory = None
    # other threads may delete some of them meanwhile
    found = {name: os.environ.get(name) for name in os.environ}
    environment = {name: value for name, value in found.items() if value is not None}
    return _State(environment, directory, interpreter_settings())


_guard: Final = threading.Lock()
_taken_over = 0
"""The number of the latest changes that this process has taken over."""


@final
class Changes(NamedTuple):
    """The changes of a program's process since its workers were started."""

    number: int
    """Later ones have a higher number."""
    environment: dict[str, str | None]
    """Variables, and their values; None: it was deleted."""
    directory: str | None
    """The working directory; None: it was always the same, or can't be told."""
    settings: dict[str, Any]

    def take_over(self) -> None:
        """Make the same changes in this process, unless it has made these or later ones.

        Raises:
            OSError: the directory can't be entered.
        """
        global _taken_over
        with _guard:
            if self.number > _taken_over:
                self._apply()
                _taken_over = self.number

    def _apply(self) -> None:
        for name, value in self.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if "TZ" in self.environment:
            time.tzset()
        if self.directory is not None:
            os.chdir(self.directory)
        set_interpreter(self.settings)


@final
class ChangingState:
    """The state of this process, from now on; any thread may ask."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last = _state_now()
        self._variables: set[str] = set()
        self._settings: set[str] = set()
        """The names of variables and of settings that were ever changed."""
        self._has_moved = False
        """Whether the directory was ever another one."""
        self._changes: Changes | None = None

    def changes(self) -> Changes | None:
        """All that has ever changed, as it is now; None: nothing has."""
        with self._guard:
            now = _state_now()
            if now != self._last:
                self._note(self._last, now)
                self._last = now
            return self._changes

    def _note(self, last: _State, now: _State) -> None:
        self._variables.update(_changed(last.environment, now.environment))
        self._settings.update(_changed(last.settings, now.settings))
        self._has_moved = self._has_moved or now.directory != last.directory
        self._changes = Changes(
            number=1 if self._changes is None else self._changes.number + 1,
            environment={name: now.environment.get(name) for name in self._variables},
            directory=now.directory if self._has_moved else None,
            settings={name: now.settings[name] for name in self._settings & now.settings.keys()},
        )


def _changed(last: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    return (name for name in {**last, **now} if last.get(name) != now.get(name))
