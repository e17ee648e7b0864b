"""Scripts in a process that has imported distio already.

Python's start and the imports take several times as long as a short script. So one process
imports everything and then forks for each script; it has neither threads nor connections. The
script finds what it would find if Python had been given it: a `__main__`, a working directory,
arguments, streams and an exit code of its own. At its end, its threads are waited for and what it
has registered is called; but the modules aren't taken apart, which would take longer than both.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, NoReturn

__all__ = ["run_script"]

_MOST_BYTES = 65_536
_IMPORTED = (
    *("asyncio", "logging.handlers", "runpy", "distio", "distio.primitives", "distio.supervision"),
    *("distio.testing", "distio.val", "distio.var", "distio.runtime.cluster"),
    *("distio.runtime.event_loop", "distio.runtime.local", "distio.runtime.run"),
)


@cache
def _server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process that forks, and the connection to it; it ends with this process."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        # its output is a file, but lines come in the order in which a terminal would show them
        command = [sys.executable, "-u", __file__, str(its.fileno())]
        devnull = subprocess.DEVNULL
        process = subprocess.Popen(
            command, pass_fds=[its.fileno()], stdin=devnull, stdout=devnull, start_new_session=True
        )
    atexit.register(_end, process, ours)
    return process, ours


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.wait()


def run_script(
    arguments: Sequence[str], directory: Path, patience: float
) -> subprocess.CompletedProcess[str]:
    """Run `python *arguments` in a directory; the first argument is the path of the script.

    Raises:
        TimeoutError: the script took longer than `patience` seconds, and was killed.
    """
    process, connection = _server()
    connection.settimeout(patience)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        request = json.dumps([*arguments, str(directory)]).encode()
        socket.send_fds(connection, [request], [out.fileno(), err.fileno()])
        try:
            code = int(connection.recv(_MOST_BYTES))
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            _server.cache_clear()
            raise
        written = [_read(file) for file in (out, err)]
    return subprocess.CompletedProcess([*arguments], code, *written)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _serve(connection: socket.socket) -> None:
    """Fork for each request; the children end with their scripts."""
    for module in _IMPORTED:
        import_module(module)
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, 2)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            _end_child(_run_as_main(*json.loads(request), descriptors=descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _run_as_main(script: str, *rest: str, descriptors: Sequence[int]) -> int:
    """Run the script; return the exit code."""
    *arguments, directory = rest
    for standard, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(directory)
    sys.argv[:] = [script, *arguments]
    path = os.path.abspath(script)
    sys.path[0] = os.path.dirname(path)
    main = ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    try:
        exec(compile(Path(path).read_bytes(), path, "exec", dont_inherit=True), vars(main))
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 (as Python does)
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end_child(code: int) -> NoReturn:
    """End as Python does, but for the modules."""
    threading._shutdown()  # type: ignore[attr-defined]  # threads may wait for the main one's end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
