"""Starting the processes of a local cluster, and seeing how they end.

They are started as programs, never forked: no lock, thread or socket of the caller can leak into
them. Each lives as long as its `Lifeline`: when this program ends, in whatever way, they see it.
A child that this program forks closes its copies, so nothing outlives the program for its sake.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, final

from distio.errors import ClusterError
from distio.runtime.forks import close_in_children, renew_in_children, without_forks

__all__ = [
    "Lifeline",
    "describe_exit",
    "fill_standard_streams",
    "hold_lifeline",
    "interrupts_wait",
    "start_program",
]

_PARENT: Final = "DISTIO_PARENT"
"""The environment variable by which a process learns what its parent can import."""

_FIRST_FREE: Final = 3
"""The descriptors below it are the standard streams."""

# `-m` would need PYTHONPATH, which -I and -E ignore. Nothing is imported before the path is right,
# lest a module of the working directory comes in its place.
_BOOTSTRAP: Final = f"""\
def bootstrap():
    import sys
    if not sys.flags.safe_path:
        del sys.path[0]
    import json, os
    parent = json.loads(os.environ.pop({_PARENT!r}))
    module, *arguments = sys.argv[1:]
    sys.path[:], sys.argv[:] = parent["path"], parent["argv"]
    import importlib
    importlib.import_module(module).main(arguments)
bootstrap()
"""


@final
class Lifeline:
    """A pipe by which other processes see the end of this one.

    Nobody writes to it. Processes that were given its `reader` come to its end when this process
    closes the lifeline, or ends in whatever way. A forked child of this process has no share in it.
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
            high.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE))
    except OSError:
        for end in high:
            os.close(end)
        raise
    finally:
        for end in low:
            os.close(end)
    return high


def start_program(
    module: str,
    *arguments: str,
    lifeline: Lifeline,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Call `main(arguments)` of a module in a process that can import what this program can.

    Its standard input is empty; it writes where this program does. See `interrupts_wait` about
    SIGINT.

    Args:
        module: its name.
        arguments: what `main` is called with, a list of them.
        lifeline: its reader is inherited; an argument has to say which descriptor that is.
        options: those of the interpreter.
        environment: variables beside those of this program.

    Raises:
        ClusterError: the module isn't found, or the working directory is gone.
        OSError: the system refuses, and why.
    """
    _check_importable(module)
    parent = {"path": _absolute_path(), "argv": sys.argv}
    return subprocess.Popen(
        [sys.executable, *options, "-c", _BOOTSTRAP, module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=_inherited(1),
        stderr=_inherited(2),
        pass_fds=[lifeline.reader],
        env={**os.environ, **(environment or {}), _PARENT: json.dumps(parent)},
    )


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
    """Whether its package is found by who has not imported it yet; `find_spec` has."""
    package, _, _ = module.partition(".")
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    return any(finder.find_spec(package, None) is not None for finder in finders)


def _absolute_path() -> list[str]:
    """Where this program looks for modules; what is no string is ignored there as here."""
    try:
        directory = os.getcwd()
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
    found: list[object] = [*sys.path]
    entries = [entry for entry in found if isinstance(entry, str)]
    return [os.path.join(directory, entry) if entry else directory for entry in entries]


def _inherited(descriptor: int) -> int | None:
    """What a child has as this standard stream: the program's, or nothing if that is closed."""
    with suppress(OSError):
        if os.get_inheritable(descriptor):
            return None
    return subprocess.DEVNULL  # closed; or a file that was opened since then and isn't for children


def fill_standard_streams() -> None:
    """Put /dev/null in the place of standard streams that are closed.

    Otherwise sockets would take their place, and programs that this one starts write to those.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < _FIRST_FREE:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Processes that are started in it hold back SIGINT until they unblock it.

    Ctrl-C in a terminal comes to them too, while they import their modules: no handler of theirs
    could be there in time.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def describe_exit(code: int) -> str:
    """How a process ended, in words.

    >>> describe_exit(-9), describe_exit(3)
    ('killed by SIGKILL', 'exited with code 3')
    """
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exited with code {code}"
