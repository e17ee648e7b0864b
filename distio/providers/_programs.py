"""Workers that are processes of this machine, or are held by such: ssh clients.

One thread watches the processes. It sleeps until one writes to its stderr, or ends, or
until a sign of life is due: the workers' standard input is their tether (`distio_worker.tether`).
So no worker outlives this program, whatever becomes of it.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, final

from distio.errors import ClusterError
from distio.runtime.child_processes import describe_exit
from distio.runtime.failure_detector import ping_seconds
from distio.runtime.forks import close_in_children, without_forks
from distio.runtime.launching import STARTED
from distio.runtime.provider import Ended, Running, State
from distio.runtime.systems import watch_process
from distio.runtime.threads import start_thread
from distio.runtime.waking import Waker

__all__ = ["Programs"]

_LIFE: Final = b"."
_LEAVE: Final = b"T"
_MOST_READ: Final = 65_536
_MOST_LINES: Final = 10
_LONGEST_LINE: Final = 500


@final
class _Process:
    """One process, and the last lines that it wrote to stderr."""

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        with without_forks():  # a child that another thread forks must not hold the tether
            self.popen = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C in a terminal is the program's business alone
            )
            close_in_children(self)
        assert self.popen.stderr is not None
        assert self.popen.stdin is not None
        for stream in (self.popen.stdin, self.popen.stderr):
            os.set_blocking(stream.fileno(), False)
        self.descriptor = watch_process(self.popen.pid)
        self.lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._has_started = False
        self._is_of_no_use = False
        """Whether the process is to end before it has started: what it says of that is no news."""
        self._partial = b""
        self.is_over = False

    def say(self, word: bytes) -> None:
        """Write to the tether of the process; one that reads nothing is as good as gone."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # it has ended, or is closed
            self.popen.stdin.write(word)

    def read(self) -> bytes | None:
        """Pass on the bytes that the process wrote, and return them: None is nothing now, empty is
        the end."""
        assert self.popen.stderr is not None
        try:
            data = os.read(self.popen.stderr.fileno(), _MOST_READ)
        except BlockingIOError:
            return None
        self._has_started = self._has_started or STARTED in data
        text = self._partial + data.replace(STARTED, b"")
        *lines, self._partial = text.split(b"\n")
        if not data and self._partial:
            lines, self._partial = [self._partial], b""
        for line in lines:
            shown = line.decode(errors="replace").rstrip("\r")
            self.lines.append(shown[:_LONGEST_LINE])
            if sys.stderr is not None and not self._is_of_no_use:
                with suppress(OSError, ValueError):  # nobody reads it any more
                    print(shown, file=sys.stderr, flush=True)
        return data

    def end(self) -> None:
        """Let the process find the end of its tether."""
        assert self.popen.stdin is not None
        self._is_of_no_use = not self._has_started
        with suppress(OSError):
            self.popen.stdin.close()

    def close(self) -> None:
        """Let go of the process's pipes; a forked child does so with its copies, too."""
        for stream in (self.popen.stdin, self.popen.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class Programs:
    """The processes of one provider, by name."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._processes: dict[str, _Process] = {}
        self._ended: dict[str, Ended] = {}
        self.changed: Callable[[], None] = lambda: None
        self._begin()

    def _begin(self) -> None:
        """Set all to the state without a thread: another cluster may come."""
        self._selector = selectors.DefaultSelector()
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        self._ping_seconds = 0.0
        self._is_closed = False

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        patience: float,
        explain: Callable[[int, list[str]], Ended],
    ) -> None:
        """Start a process.

        Args:
            explain: says of its exit code and last lines how it has ended.

        Raises:
            ClusterError: the system refuses, and why.
        """
        try:
            process = _Process(name, argv, environment)
        except OSError as error:
            raise ClusterError(f"can't start {argv[0]} ({error.strerror})") from error
        with self._mutex:
            self._ping_seconds = ping_seconds(patience)
            self._processes[name] = process
            if self._waker is None:
                self._waker = Waker()
                self._selector.register(self._waker.reader, selectors.EVENT_READ, self._waker.clear)
                self._thread = start_thread("distio-provider", self._run)

        def ended() -> None:
            self._note_end(process, explain)

        assert process.popen.stderr is not None
        stderr = process.popen.stderr

        def written() -> None:
            if process.is_over:  # its end was seen in the same moment
                return
            data = process.read()
            if data == b"":
                self._selector.unregister(stderr)
            elif data is not None and STARTED in data:
                self.changed()

        self._selector.register(stderr, selectors.EVENT_READ, written)
        self._selector.register(process.descriptor, selectors.EVENT_READ, ended)
        self._waker.wake()

    def _run(self) -> None:
        due = time.monotonic()
        while not (self._is_closed and not self._processes):
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                key.data()
            now = time.monotonic()
            if now >= due:
                due = now + self._ping_seconds
                with self._mutex:
                    living = list(self._processes.values())
                for process in living:
                    process.say(_LIFE)

    def _note_end(self, process: _Process, explain: Callable[[int, list[str]], Ended]) -> None:
        self._selector.unregister(process.descriptor)
        os.close(process.descriptor)
        while process.read():
            pass
        with suppress(KeyError):
            assert process.popen.stderr is not None
            self._selector.unregister(process.popen.stderr)
        code = process.popen.wait()
        process.is_over = True
        process.close()
        with self._mutex:
            self._ended[process.name] = explain(code, list(process.lines))
            del self._processes[process.name]
        self.changed()

    def status(self, names: Sequence[str]) -> dict[str, State]:
        """The states of these workers; the end of one is told once."""
        with self._mutex:
            found: dict[str, State] = {}
            for name in names:
                if name in self._processes:
                    found[name] = Running()
                elif name in self._ended:
                    found[name] = self._ended.pop(name)
            return found

    def stop(self, names: Sequence[str], seconds: float) -> None:
        """Tell these workers to leave, or end them."""
        with self._mutex:
            processes = [self._processes[name] for name in names if name in self._processes]
        for process in processes:
            if seconds:
                process.say(_LEAVE)
            else:
                process.popen.kill()

    def close(self, seconds: float) -> None:
        """End all workers: they find the end of their tether, and have so long.

        Args:
            seconds: after which they are killed.
        """
        with self._mutex:
            self._is_closed = True
            processes = list(self._processes.values())
        for process in processes:
            process.end()
        thread = self._thread
        if thread is None:
            return
        assert self._waker is not None
        self._waker.wake()
        thread.join(seconds)
        self.stop([process.name for process in processes], 0.0)
        thread.join()
        self._selector.close()
        self._waker.close()
        self._begin()


def exit_in_words(code: int) -> str:
    """The exit, in words, of a process whose code a shell may have passed on."""
    return describe_exit(128 - code if 128 < code < 128 + 65 else code)
