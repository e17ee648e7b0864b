"""The equipment with which the processes of a cluster on this machine are started.

Rules
-----
- A private directory has their socket, their keys and their journal, as far as they need these. It
  goes with the cluster.
- Each process holds a lifeline, so it ends with this program, and the true stderr of this program.
- A process has a serial number, by which the coordinator knows it from those before it.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import final

from distio.runtime.addresses import URL_FILE, ipc_path, private_directory
from distio.runtime.child_processes import ChildProcess
from distio.runtime.cores import share_of_cores, thread_limits
from distio.runtime.interpreter_settings import interpreter_settings
from distio.runtime.journal.log import PRIVATE, Log, private_journal
from distio.runtime.keys import make_cluster_keys
from distio.runtime.launching import WORKER, Lifeline, OwnStderr, Program, StartLog
from distio.runtime.process_options import ProcessOptions
from distio.runtime.process_supervisor import Child, RestartLimit
from distio.runtime.python_options import import_options, python_options
from distio.runtime.shared_memory import SharedDirectory
from distio.runtime.systems import can_share_memory
from distio.runtime.workers import Worker

__all__ = ["Equipment"]


@final
class Equipment:
    """Makes the children of a supervisor.

    Args:
        options: those of the processes.
        count: how many workers share the cores.

    Raises:
        OSError: the system refuses what is needed.
    """

    def __init__(self, options: ProcessOptions, count: int) -> None:
        self._options = options
        self.family = secrets.token_hex(8)
        self._new_limit = partial(RestartLimit, options.max_restarts, options.within_seconds)
        self._serials = itertools.count(1)
        self.directory = private_directory()
        self.url = options.bind or f"ipc://{self.directory / 'coordinator'}"
        """The address at which the coordinator listens, as far as that is known before it does."""
        self.keys: Path | None = None
        """The folder with the keys of the cluster, if it has some: on TCP."""
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            if ipc_path(self.url) is None:
                self.keys = self.directory / "keys"
                make_cluster_keys(self.keys)
            self._shared = _shared_directory(options, self.url)
            if self._shared is not None:
                undo.callback(self._shared.remove)
            self._lifeline = Lifeline()
            undo.callback(self._lifeline.close)
            self._stderr = OwnStderr()
            undo.callback(self._stderr.close)
            self._coordinator_program = Program(
                "distio.runtime.local_coordinator",
                options=import_options(),
                fork_seconds=options.start_seconds,
            )
            limits = thread_limits(options.blas_threads, share_of_cores(count or 1), os.environ)
            self._worker_program = Program(
                WORKER,
                options=python_options(),
                environment=limits,
                settings=interpreter_settings(),
                fork_seconds=options.start_seconds,
            )
            undo.pop_all()

    def prepare(self) -> bool:
        """Let the fork server import meanwhile, so that the children start at once.

        Returns:
            Whether they would start at once now.

        Raises:
            OSError: the system refuses, and why.
        """
        return self._worker_program.prepare()

    # -- children -------------------------------------------------------------------------

    def coordinator(self) -> Child:
        """The coordinator."""
        options = self._options
        limits = options.grace, options.max_losses, options.snapshot_memory, options.keep_snapshots
        journal = str(options.journal_directory or PRIVATE * bool(options.journal))
        elsewhere = "elsewhere" * options.workers_are_elsewhere
        keys = "" if self.keys is None else str(self.keys)
        shared = "" if self._shared is None else str(self._shared.path)
        given = str(self.directory), *map(str, limits), journal, elsewhere, keys, shared
        return self._child(self._coordinator_program, *given, has_box=False)

    def worker(self, worker: Worker) -> Child:
        """A worker, and what it is like."""
        given = (
            json.dumps(worker.fields()),
            self.family,
            f"{self._options.start_seconds:g}",
            "accepts" * self._options.accepts_other_code,
        )
        child = self._child(self._worker_program, *given)
        child.name = worker.name
        return child

    def _child(self, program: Program, *arguments: str, has_box: bool = True) -> Child:
        """A child, whose processes are given what all of them are given besides."""
        lifeline, stderr = self._lifeline.reader, self._stderr.descriptor

        def launch(child: Child) -> tuple[ChildProcess, StartLog]:
            child.serial = next(self._serials)
            log = StartLog(stderr)
            inherits = [lifeline, stderr, *([child.new_box()] if has_box else [])]
            given = *arguments, str(child.serial), *map(str, inherits)
            # a coordinator that is started again listens at the port that the first one was given
            return program.start(self.url, *given, inherits=inherits, log=log), log

        return Child(launch, self._new_limit())

    # -- what the coordinator leaves in the directory -------------------------------------

    def read_url(self) -> None:
        """Note where the coordinator listens: the system may have chosen the port."""
        self.url = (self.directory / URL_FILE).read_text()

    def has_journal(self) -> bool:
        """Whether another coordinator can go on where one has ended."""
        if self._options.journal is True:  # it may have been given up, or was never there
            return Log.is_there(private_journal(self.directory))
        return self._options.journal is not False

    # -- the end --------------------------------------------------------------------------

    def cut_lifeline(self) -> None:
        """Let the processes know that they are to end."""
        self._lifeline.close()

    def remove(self) -> None:
        """Remove what the processes leave behind."""
        self._lifeline.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._shared is not None:
            self._shared.remove()
        self._stderr.close()


def _shared_directory(options: ProcessOptions, url: str) -> SharedDirectory | None:
    """The directory where processes of a cluster share large values, if all are here and may do
    so."""
    is_here = ipc_path(url) is not None and not options.workers_are_elsewhere
    if not is_here or not can_share_memory():
        return None
    try:
        return SharedDirectory()
    except OSError:
        return None  # they travel in frames
