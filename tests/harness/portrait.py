"""A program that writes down what kind of process it is."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import threading
from importlib import import_module
from typing import Any

from distio.runtime.interpreter_settings import interpreter_settings

# their settings are read once they are imported
for _module in ("csv", "decimal", "locale", "logging", "multiprocessing", "socket"):
    import_module(_module)


def main(arguments: list[str]) -> None:
    """Write the portrait to a descriptor; then wait if that is asked for."""
    descriptor, *words = arguments
    if "breaks" in words:
        raise ValueError("broken")
    portrait = json.dumps(portrait_of_this_process(words, int(descriptor)))
    with os.fdopen(int(descriptor), "w") as file:
        file.write(portrait)
    if "waits" in words:
        signal.pause()
    sys.exit(7)


def portrait_of_this_process(words: list[str], own: int) -> dict[str, Any]:
    mask = os.umask(0)
    return {
        "words": words,
        "argv": sys.argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "warnings": sys.warnoptions,
        "settings": interpreter_settings(),
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "umask": mask,
        "cores": sorted(os.sched_getaffinity(0)),
        "niceness": os.nice(0),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "group": os.getpgrp(),
        "session": os.getsid(0),
        "handlers": {number.name: str(signal.getsignal(number)) for number in signal.Signals},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup": signal.set_wakeup_fd(-1),
        "threads": threading.active_count(),
        "descriptors": {
            "own" if number == own else number: _kind_of(number)
            for number in range(64)
            if _is_open(number)
        },
        "streams": [_described(each) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "replaced": [
            one is other
            for one, other in (
                (sys.stdin, sys.__stdin__),
                (sys.stdout, sys.__stdout__),
                (sys.stderr, sys.__stderr__),
            )
        ],
        "collects": gc.isenabled(),
        "main": sys.modules["__main__"].__name__,
    }


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _kind_of(number: int) -> tuple[int, bool]:
    return os.fstat(number).st_mode >> 12, os.get_inheritable(number)


def _described(stream: Any) -> list[Any]:
    return [
        stream.name,
        stream.mode,
        stream.encoding,
        stream.errors,
        stream.line_buffering,
        stream.write_through,
        stream.isatty(),
        type(stream.buffer).__name__,
        stream.fileno(),
    ]
