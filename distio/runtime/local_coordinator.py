"""The coordinator of a local cluster: it lives as long as the lifeline of its program."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from distio.errors import JournalError
from distio.runtime.addresses import URL_FILE
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess, log
from distio.runtime.ending_signals import OF_TERMINAL
from distio.runtime.journal.journal import Journal
from distio.runtime.journal.limits import PRIVATE_LIMITS, Limits
from distio.runtime.journal.log import PRIVATE, private_journal
from distio.runtime.launching import hold_lifeline, tell_started
from distio.runtime.systems import name_process


def main(arguments: list[str]) -> None:
    """Serve until the program has ended; `LocalProcesses` makes the arguments."""
    name_process("distio-coord")
    for number in OF_TERMINAL:
        signal.signal(number, signal.SIG_IGN)  # it is the program's; nothing is started here
    url, directory, *numbers, journal, elsewhere, keys, shared, _, lifeline, stderr = arguments
    grace, max_losses, snapshot_memory, cuts = numbers
    options = CoordinatorOptions(
        grace=float(grace),
        max_losses=int(max_losses),
        snapshot_memory=int(snapshot_memory),
        directory=directory,
        workers_are_here=not elsewhere,
        keys=Path(keys) if keys else None,
        shared_memory=Path(shared) if shared else None,
    )
    held = hold_lifeline(int(lifeline))
    try:
        where = _open(journal, Path(directory), Limits(cuts=int(cuts)))
        process = CoordinatorProcess(url, options, journal=where, lifeline=held)
    except JournalError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    process.stop_at(signal.SIGTERM)
    if elsewhere:  # a starter of workers has to know the port
        Path(directory, URL_FILE).write_text(process.url)
    process.instruments.tell_at(signal.SIGUSR1)
    tell_started(int(stderr))
    try:
        process.run()
    finally:
        if not journal or process.is_orphan:
            import shutil  # the program waits for the start, and not for the end

            shutil.rmtree(directory, ignore_errors=True)


def _open(where: str, directory: Path, limits: Limits) -> Journal | None:
    """The journal of a local cluster: none, a private one in its directory, or any other one."""
    if not where:
        return None
    if where == PRIVATE:
        return Journal(
            private_journal(directory),
            complain=log.warning,
            limits=PRIVATE_LIMITS,
            is_private=True,
        )
    return Journal(Path(where), complain=log.warning, limits=limits)
