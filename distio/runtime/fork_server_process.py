"""The fork server: a process that imports once, and forks the processes of local clusters.

The server has one thread, no socket but the one to its program, and no state of a run, so what it
forks is like a process that has just imported its modules. It sleeps until the program asks for a
process, or until a process ends, is stopped or goes on, of which it tells the program. It ends when
the program has ended or closes the socket.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from types import FrameType
from typing import Final, final

from distio.runtime.fork_requests import News, Request, receive_request, tell_news
from distio.runtime.interpreter_settings import set_interpreter
from distio.runtime.systems import watch_process

__all__ = ["main"]

_THREADS: Final = "/proc/self/task"
_STATES: Final = os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG
_MOST_WAKES: Final = 4096
_STDERR: Final = 2


def main(arguments: list[str]) -> None:
    """Serve, and in a forked process be what was asked for; `ForkServer` makes the arguments."""
    control, *modules = arguments
    gc.disable()  # as `Program` does while a process imports
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
    program = socket.socket(fileno=int(control))
    with suppress(OSError):  # the program has ended, as the server is about to see
        tell_news(program, News.READY, 0)
    become = _Server(program).serve()
    if become is not None:
        become()


@final
class _Server:
    """Serves the program at the other end of a socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._news: dict[int, socket.socket] = {}
        """Where to tell of each process, by its id."""
        # a signal to the whole group is for the processes; one that is blocked isn't forked along
        self._mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._handler_before = signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        self._poll = select.poll()
        for source in (self._control.fileno(), self._wakes):
            self._poll.register(source, select.POLLIN)

    def serve(self) -> Callable[[], None] | None:
        """Serve until the program has ended.

        Returns:
            In a process that was forked: what it does. In the server: None.
        """
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._wakes in ready:
                os.read(self._wakes, _MOST_WAKES)
                self._tell_changes()
            if self._control.fileno() not in ready:
                continue
            asked = receive_request(self._control)
            if asked is None or len(os.listdir(_THREADS)) > 1:  # a fork would lack the others
                return None
            become = self._fork(*asked)
            if become is not None:
                return become

    def _tell_changes(self) -> None:
        while True:
            try:
                change = os.waitid(os.P_ALL, 0, _STATES)
            except ChildProcessError:
                return
            if change is None:
                return
            with suppress(OSError):  # nobody wants to know
                tell_news(self._news[change.si_pid], *_news_of(change))
            if change.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
                self._news.pop(change.si_pid).close()

    def _fork(
        self, request: Request, news: socket.socket, inherited: list[int]
    ) -> Callable[[], None] | None:
        try:
            os.chdir(request.directory)
            pid = os.fork()
        except OSError as error:
            with suppress(OSError):
                tell_news(news, News.REFUSED, error.errno or errno.EAGAIN)
            news.close()
            _close(inherited)
            return None
        if pid == 0:
            news.close()
            return self._become(request, inherited)
        _close(inherited)
        self._news[pid] = news
        descriptor = watch_process(pid)
        try:
            tell_news(news, News.BORN, pid, descriptor)
        except OSError:  # the program waits no more
            os.kill(pid, signal.SIGKILL)
        finally:
            os.close(descriptor)
        return None

    # -- in a forked process ---------------------------------------------------------------

    def _become(self, request: Request, inherited: list[int]) -> Callable[[], None]:
        """Let this process be like one that was started for the request."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self._handler_before)
        self._control.close()
        for news in self._news.values():
            news.close()
        _close([self._wakes, self._wake])
        _place(inherited, request.numbers)
        _renew_streams()
        _set_environment(request.environment)
        sys.argv[:] = request.argv
        if request.settings is not None:
            set_interpreter(request.settings)
        importlib.invalidate_caches()  # a module may be there that wasn't when others were imported
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)
        return partial(importlib.import_module(request.module).main, request.arguments)


def _news_of(change: os.waitid_result) -> tuple[News, int]:
    if change.si_code == os.CLD_CONTINUED:
        return News.CONTINUED, 0
    if change.si_code == os.CLD_EXITED:
        return News.ENDED, change.si_status
    if change.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
        return News.ENDED, -change.si_status
    return News.STOPPED, 0


def _place(descriptors: list[int], numbers: list[int]) -> None:
    """Give descriptors their numbers, whatever has these now."""
    above = max(numbers) + 1
    sources = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, above) for each in descriptors]
    _close(descriptors)
    for source, number in zip(sources, numbers, strict=True):
        os.dup2(source, number)
    _close(sources)


def _renew_streams() -> None:
    """Make the standard streams as Python does when it starts: they depend on what their files are.

    The encodings don't, nor does -u.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before: TextIOWrapper = getattr(sys, name)
        is_unbuffered = before.write_through and number > 0
        raw = FileIO(number, "w" if number else "r", closefd=False)
        raw.name = before.name
        kind = BufferedWriter if number else BufferedReader
        stream = TextIOWrapper(
            raw if is_unbuffered else kind(raw),
            before.encoding,
            before.errors,
            newline="\n",
            line_buffering=not is_unbuffered and (number == _STDERR or raw.isatty()),
            write_through=before.write_through,
        )
        stream.mode = before.mode  # type: ignore[misc]  # Python sets it, too
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _set_environment(environment: dict[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handle SIGCHLD: the poll has ended already."""
