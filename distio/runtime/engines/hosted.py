"""Workers beside a process of another engine, which decides how long they live.

The engine has chosen the host, and ends its process when it likes. The workers are children of that
process, so that whatever their fibers do harms nothing of the engine. They end with the process,
however it ends, and one that ends alone is started again.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, final

from distio.runtime.child_processes import ChildProcess, describe_exit
from distio.runtime.keys import KEYS_VARIABLE
from distio.runtime.keys_folder import KeysFolder
from distio.runtime.launching import Lifeline, Program, StartLog
from distio.runtime.process_supervisor import LOST, Child, ProcessSupervisor
from distio.runtime.python_options import python_options
from distio.runtime.threads import start_thread

__all__ = ["GRACE_SECONDS", "HostedWorkers", "Launch"]

log: Final = logging.getLogger("distio.worker")

LaunchChild = Callable[[Child], tuple[ChildProcess, StartLog | None]]

GRACE_SECONDS: Final = 10.0
"""How long workers may take to leave, unless the engine says otherwise."""
_REFUSED: Final = 64
"""The exit code of a worker that can't join, and won't if it is started again."""
_A_MOMENT_SECONDS: Final = 1.0


class Launch(NamedTuple):
    """The workers to start on a host; the launch travels by the engine's own means."""

    url: str
    """The address at which the coordinator listens."""
    name: str
    """The name of the workers there; each gets a number as well."""
    processes: int
    arguments: tuple[str, ...] = ()
    """More of the command line of `distio-worker`."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables beside those of the process."""
    keys: tuple[tuple[str, bytes], ...] = ()
    """(name, content) of each file of a worker's folder of keys; empty: none are needed."""


@final
class HostedWorkers:
    """The workers beside this process.

    Args:
        launch: what to start.
        environment: variables that this host adds.

    Raises:
        ClusterError, OSError: they can't be started.
    """

    def __init__(self, launch: Launch, environment: Mapping[str, str] | None = None) -> None:
        self._launch = launch
        self._lifeline = Lifeline()
        self._supervised = ProcessSupervisor(self)
        self.failure = ""
        """The reason why there are no workers any more, though they were not told to end."""
        variables = {**dict(launch.environment), **(environment or {})}
        self._keys = KeysFolder(dict(launch.keys))
        if self._keys.path is not None:
            variables[KEYS_VARIABLE] = str(self._keys.path)
        program = Program("distio_worker.main", options=python_options(), environment=variables)
        try:
            for number in range(1, launch.processes + 1):
                self._supervised.add(Child(self._start_by(program, self._name(number))))
        except BaseException:
            self._supervised.stop(0)
            self._run()
            raise
        self._thread = start_thread("distio-hosted", self._run, self._fail)

    def _name(self, number: int) -> str:
        name = self._launch.name
        return name if self._launch.processes == 1 else f"{name}-{number}"

    def _start_by(self, program: Program, name: str) -> LaunchChild:
        given = [self._launch.url, *self._launch.arguments, "--name", name]
        given += ["--lifeline", str(self._lifeline.reader)]

        def start(child: Child) -> tuple[ChildProcess, StartLog | None]:
            return program.start(*given, inherits=[self._lifeline.reader]), None

        return start

    # -- as the engine asks -----------------------------------------------------------------

    @property
    def pids(self) -> list[int]:
        """The processes of the workers that live."""
        children = self._supervised.children
        return [each.process.pid for each in children if each.is_alive and each.process is not None]

    def leave(self, seconds: float = GRACE_SECONDS) -> None:
        """Have the workers leave: their fibers go on elsewhere. Returns when they have ended.

        Args:
            seconds: how long they may take; then they are killed.
        """
        self._supervised.stop(seconds, signal.SIGTERM)
        self._thread.join(seconds + _A_MOMENT_SECONDS)

    # -- on the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._supervised.run()
        finally:
            self._lifeline.close()
            self._keys.remove()

    def _fail(self, error: BaseException) -> None:
        self.failure = f"{type(error).__name__}: {error}"
        log.error("the workers of this host aren't looked after any more", exc_info=error)

    def started(self, child: Child) -> None:
        """Do nothing: each worker says itself that it has joined."""

    def ended(self, child: Child, code: int, lived: float) -> float | None:
        """A worker has ended; one that was told to, or can't join, isn't started again."""
        assert child.process is not None
        reason = "lost the coordinator" if code == LOST else describe_exit(code)
        what = f"worker process {child.process.pid} of {self._launch.name}: {reason}"
        seconds = None if code in (0, LOST, _REFUSED) else child.again(lived)
        if seconds is not None:
            log.warning("%s; it is started again", what)
        elif code:
            self.failure = what
            log.error("%s", what)
        return seconds

    def refused(self, child: Child, error: OSError) -> float | None:
        """The system may allow it later."""
        log.warning("a worker of %s can't be started: %s", self._launch.name, error)
        return child.again(0.0, counts=False)

    def killed(self, child: Child) -> None:
        """A worker has not left in time."""
        log.warning("a worker of %s has not left in time, and is killed", self._launch.name)
