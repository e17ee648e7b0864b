"""Starting the processes of a local cluster, and seeing how they end.

This process never forks them: no lock, thread or socket of the caller can leak into them. They are
started as programs, or forked by the fork server. Each process lives as long as its `Lifeline`,
which shows it the end of this program. A child that this program forks closes its copies, so no
process outlives the program for its sake.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Final, final

from distio.errors import ClusterError
from distio.runtime.child_processes import FIRST_FREE, ChildProcess, Spawned, interrupts_blocked
from distio.runtime.fork_requests import Request
from distio.runtime.fork_server import Forked, fork, prepare
from distio.runtime.forks import close_in_children, renew_in_children, without_forks
from distio.runtime.interpreter_settings import InterpreterSettings
from distio.runtime.surroundings import read_at_start, surroundings

__all__ = [
    "STARTED",
    "WORKER",
    "Lifeline",
    "OwnStderr",
    "Program",
    "StartLog",
    "fill_standard_streams",
    "hold_lifeline",
    "tell_started",
]

_PARENT: Final = "DISTIO_PARENT"
"""The environment variable by which a process learns what its parent can import."""

WORKER: Final = "distio_worker.local"
"""The module of the workers of local clusters."""
_OF_SERVER: Final = ("distio.runtime.local_coordinator", WORKER)
"""The modules that the fork server imports, for the processes of local clusters."""

STARTED: Final = b"\0"
"""The byte that a process writes to stderr when it has started."""
_MOST_READ: Final = 65_536
_MOST_KEPT: Final = 8_192
_MOST_LINES: Final = 10

# `-m` would need PYTHONPATH, which -I and -E ignore. Nothing is imported before the path is right,
# lest a module of the working directory comes in its place. The collector would look through the
# modules again and again while they are imported, at each full collection, and at the exit.
_BOOTSTRAP: Final = f"""\
def bootstrap():
    import sys
    if not sys.flags.safe_path:
        del sys.path[0]
    import json, os
    parent = json.loads(os.environ.pop({_PARENT!r}))
    module, *arguments = sys.argv[1:]
    sys.path[:], sys.argv[:] = parent["path"], parent["argv"]
    import gc, importlib
    gc.disable()
    collects = True
    if parent["settings"] is not None:
        settings = importlib.import_module("distio.runtime.interpreter_settings")
        settings.set_interpreter(parent["settings"])
        collects = gc.isenabled()
        gc.disable()
    main = importlib.import_module(module).main
    gc.freeze()
    if collects:
        gc.enable()
    main(arguments)
bootstrap()
"""


@final
class Lifeline:
    """A pipe by which other processes see the end of this one.

    No process writes to the pipe. A process that has its `reader` sees the end of the file when
    this process closes the lifeline, or ends in whatever way. A forked child of this process has no
    share in it.
    """

    def __init__(self) -> None:
        self._is_open = True
        with without_forks():  # a child that another thread forks must not keep the pipe open
            self.reader, self._writer = _pipe_above_standard()
            close_in_children(self)

    def close(self) -> None:
        """Let the processes end; may be called again."""
        if self._is_open:
            self._is_open = False
            os.close(self._writer)
            os.close(self.reader)


_held: Final[set[int]] = set()
"""The ends of lifelines by which this process sees the end of another one."""


def hold_lifeline(reader: int) -> int:
    """Keep the inherited end of a lifeline from the children of this process; return it."""
    os.set_inheritable(reader, False)
    _held.add(reader)
    return reader


def _let_go_in_child() -> None:
    while _held:
        os.close(_held.pop())


renew_in_children(_let_go_in_child)


def _pipe_above_standard() -> list[int]:
    """A pipe that no standard stream of a child can take the place of."""
    low = os.pipe()  # these may be 0 to 2, if the program has closed its standard streams
    high: list[int] = []
    try:
        for end in low:
            high.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE))
    except OSError:
        for end in high:
            os.close(end)
        raise
    finally:
        for end in low:
            os.close(end)
    return high


@final
class OwnStderr:
    """The stderr of this program as it is now, or /dev/null if that is closed.

    A forked child closes its copy: a child that has left the program's streams, like a daemon,
    would keep the readers of the stream waiting.
    """

    def __init__(self) -> None:
        self._is_open = True
        with without_forks():
            source = 2 if _inherited(2) is None else os.open(os.devnull, os.O_WRONLY)
            try:
                self.descriptor = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
            finally:
                if source != 2:
                    os.close(source)
            close_in_children(self)

    def close(self) -> None:
        """May be called again."""
        if self._is_open:
            self._is_open = False
            os.close(self.descriptor)


@final
class StartLog:
    """Passes on what a process writes to stderr until it has started, and keeps the last lines.

    The process is given the `writer` as its stderr. When it has started, it calls `has_started`,
    and writes to the true stderr from then on.

    Args:
        target: the descriptor of the true stderr.
    """

    def __init__(self, target: int) -> None:
        self.reader, self.writer = _pipe_above_standard()
        os.set_blocking(self.reader, False)
        self.has_started = False
        self._is_open = True
        self._target = target
        self._end = b""
        self._partial = b""
        """The beginning of a line that isn't complete: others write to the same stderr."""

    def read(self) -> bool:
        """Pass on what was written since; False if that is nothing. Closes when all was."""
        try:
            data = os.read(self.reader, _MOST_READ)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        if STARTED in data:
            self.has_started = True
            data = data.replace(STARTED, b"")
        self._end = (self._end + data)[-_MOST_KEPT:]
        lines, end, self._partial = (self._partial + data).rpartition(b"\n")
        self._pass_on(lines + end)
        return True

    def _pass_on(self, text: bytes) -> None:
        with suppress(OSError):  # nobody reads it any more
            while text:
                text = text[os.write(self._target, text) :]

    def finish(self) -> None:
        """Pass on the rest: the process has ended, but a fork of it may hold the writer."""
        while self.read():
            pass
        self.close()

    def is_open(self) -> bool:
        """Whether more may come."""
        return self._is_open

    def close(self) -> None:
        """May be called again."""
        if self._is_open:
            self._is_open = False
            os.close(self.reader)
            self._pass_on(self._partial)

    def last_lines(self) -> str:
        """The end of it, on lines of its own; empty if nothing was written."""
        lines = self._end.decode(errors="replace").splitlines()[-_MOST_LINES:]
        return "".join(f"\n    {line}" for line in lines)


def tell_started(stderr: int) -> None:
    """Tell the `StartLog` of this process that it has started, and write to the true stderr.

    Args:
        stderr: its descriptor, which is closed.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    os.write(2, STARTED)
    os.dup2(stderr, 2)
    os.close(stderr)


@final
class Program:
    """`main(arguments)` of a module, for processes that can import what this program can now.

    The processes get the environment, working directory and path of this moment, whenever they
    start.

    Args:
        module: the name of the module.
        options: the options of the interpreter.
        environment: variables beside those of this program.
        settings: those of the interpreter; None: as Python has them.
        fork_seconds: how long the fork server, which has imported the module, may take to fork
            one; None: it has not.

    Raises:
        ClusterError: the module isn't found, or the working directory is gone.
    """

    def __init__(
        self,
        module: str,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        settings: InterpreterSettings | None = None,
        fork_seconds: float | None = None,
    ) -> None:
        _check_importable(module)
        self._module = module
        self._directory = _working_directory()
        self._command = [sys.executable, *options, "-c", _BOOTSTRAP]
        self._argv = [*sys.argv]
        self._path = _absolute_path(self._directory)
        self._environment = {**os.environ, **(environment or {})}
        self._settings = settings
        # with -v somebody wants to see each import of each process
        self._fork_seconds = None if sys.flags.verbose else fork_seconds

    def prepare(self) -> bool:
        """Let the fork server import meanwhile, so that `start` finds it ready.

        Returns:
            Whether `start` needn't wait for it any more.

        Raises:
            OSError: the system refuses, and why.
        """
        if self._fork_seconds is None or (key := self._key()) is None:
            return True
        return prepare(key, self._spawn_server)

    def start(
        self,
        *arguments: str,
        inherits: Sequence[int],
        log: StartLog | None = None,
    ) -> ChildProcess:
        """Start a process.

        The standard input of the process is empty; its output goes where this program's does.
        SIGINT and SIGHUP are blocked until the process unblocks them.

        Args:
            arguments: what `main` is called with, a list of them.
            inherits: descriptors; an argument has to say what each is for.
            log: takes what the process writes to stderr until it has started.

        Raises:
            OSError: the system refuses, and why.
        """
        try:
            forked = self._fork(arguments, inherits, log)
            return self._spawn(arguments, inherits, log) if forked is None else forked
        except BaseException:
            if log is not None:
                log.close()
            raise
        finally:
            if log is not None:
                os.close(log.writer)

    def _spawn(
        self, arguments: Sequence[str], inherits: Sequence[int], log: StartLog | None
    ) -> Spawned:
        with interrupts_blocked():
            return Spawned(
                [*self._command, self._module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=_inherited(1),
                stderr=_inherited(2) if log is None else log.writer,
                pass_fds=inherits,
                env=self._environment_of_program(self._settings),
                cwd=self._directory,
            )

    def _fork(
        self, arguments: Sequence[str], inherits: Sequence[int], log: StartLog | None
    ) -> Forked | None:
        if self._fork_seconds is None or (key := self._key()) is None:
            return None
        request = Request(
            self._module,
            [*arguments],
            self._argv,
            self._directory,
            self._environment,
            self._settings,
            [0, 1, 2, *inherits],
        )
        with ExitStack() as stack:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, nothing)
            out = nothing if _inherited(1) == subprocess.DEVNULL else 1
            err = nothing if _inherited(2) == subprocess.DEVNULL else 2
            streams = nothing, out, err if log is None else log.writer
            return fork(
                key,
                self._spawn_server,
                request,
                [*streams, *inherits],
                seconds=self._fork_seconds,
            )

    def _key(self) -> object:
        """Equal if processes would be alike; None: the system doesn't tell."""
        try:
            with interrupts_blocked():
                around = surroundings()
        except OSError:
            return None
        return *self._command, *self._path, read_at_start(self._environment), around

    def _spawn_server(self, control: int) -> Spawned:
        null = subprocess.DEVNULL
        with interrupts_blocked():
            return Spawned(
                [*self._command, "distio.runtime.fork_server_process", str(control), *_OF_SERVER],
                stdin=null,
                stdout=null,
                stderr=null,
                pass_fds=[control],
                env=self._environment_of_program(None),
                cwd=self._directory,
            )

    def _environment_of_program(self, settings: InterpreterSettings | None) -> dict[str, str]:
        parent = {"path": self._path, "argv": self._argv, "settings": settings}
        return {**self._environment, _PARENT: json.dumps(parent)}


def _check_importable(module: str) -> None:
    try:
        is_found = _is_on_path(module) and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it is in isn't found
        is_found = False
    if not is_found:
        raise ClusterError(
            f"worker processes need the module {module}, which isn't found on sys.path; "
            f"install distio anew, or put its directory back on sys.path"
        )


def _is_on_path(module: str) -> bool:
    """Whether a process that hasn't imported the package yet would find it."""
    package, _, _ = module.partition(".")
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    return any(finder.find_spec(package, None) is not None for finder in finders)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise ClusterError(
            "worker processes start in the working directory of the program, which doesn't exist "
            "any more; change to one that does (os.chdir)"
        ) from error
    except OSError as error:
        raise ClusterError(
            f"worker processes start in the working directory of the program, which can't be "
            f"read ({error.strerror}); change to another (os.chdir)"
        ) from error


def _absolute_path(directory: str) -> list[str]:
    """Where this program looks for modules; what is no string is ignored there as here."""
    found: list[object] = [*sys.path]
    entries = [entry for entry in found if isinstance(entry, str)]
    return [os.path.join(directory, entry) if entry else directory for entry in entries]


def _inherited(descriptor: int) -> int | None:
    """The standard stream of a child: None for the program's; DEVNULL if that is closed."""
    with suppress(OSError):
        if os.get_inheritable(descriptor):
            return None
    return subprocess.DEVNULL  # closed; or a file that was opened since then and isn't for children


def fill_standard_streams() -> None:
    """Put /dev/null in the place of standard streams that are closed.

    Otherwise sockets would take their place, and programs that this one starts write to those.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < FIRST_FREE:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
