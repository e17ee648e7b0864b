"""How a program submits runs to a cluster, and gets hold of those that have names."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, overload

from distio._display.progress import Progress
from distio.core import expect
from distio.core.ops.base import IO, require_io
from distio.errors import ClusterClosed, MatchError
from distio.protocol.domains import NamedRunAction, Snapshots
from distio.protocol.messages import ActOnNamedRun
from distio.runtime.pending_runs import CLOSED
from distio.runtime.run_handles import NamedRun, RunHandle, RunStatus, status_of

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["LEVELS", "Submits"]

R = TypeVar("R")
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)

LEVELS: Final = get_args(Snapshots)


class Submits:
    """The part of a `Cluster` that is about submitted runs."""

    def __init__(self, host: LinkedHost, snapshots: Snapshots) -> None:
        self._host = host
        self._snapshots = snapshots
        self._is_closed = False

    @overload
    def submit(
        self,
        io: IO[R, E, A],
        context: R,
        *,
        snapshots: Snapshots | None = None,
        progress: Progress = None,
    ) -> RunHandle[E, A]: ...

    @overload
    def submit(
        self,
        io: IO[R, E, A],
        context: R,
        *,
        name: str,
        keep_for: float | None = None,
        replace: bool = False,
        snapshots: Snapshots | None = None,
        progress: Progress = None,
    ) -> NamedRun[E, A]: ...

    def submit(
        self,
        io: IO[R, E, A],
        context: R,
        *,
        name: str | None = None,
        keep_for: float | None = None,
        replace: bool = False,
        snapshots: Snapshots | None = None,
        progress: Progress = None,
    ) -> RunHandle[E, A] | NamedRun[E, A]:
        """Start a run on the workers, root and all, and return at once.

        A run without a name ends with this process. A run with a name outlives it: the run goes on
        at the workers, and any process may `attach` to it. Without a worker it waits for one. The
        same program and context under the same name are the same run: to submit them again, from
        any process, is to attach to it.

        Args:
            io: the program.
            context: the value that `io.read` computes. Both travel.
            name: the name of the run: one line of at most 200 characters.
            keep_for: for how long its outcome is kept after its end, in seconds; None: as long as
                the coordinator keeps outcomes, which is 7 days unless it was told otherwise.
            replace: whether the run begins anew if another one has ended under this name, whose
                outcome is forgotten. A run that goes on is never replaced.
            snapshots: what is kept of the fibers of the run, its root included; see `run`.
            progress: what `result` of the handle shows while it waits, if it isn't told; as for
                `IO.run`.

        Returns:
            A `RunHandle`, or a `NamedRun`, which waits for the run or cancels it.

        Raises:
            MatchError: an argument is of another kind.
            NotPicklable: the program or its context can't be pickled; the message says why.
            RunRefused: another program runs under this name, or its outcome is kept; or there are
                too many names.
            ClusterClosed: the cluster is closed, or this process was forked from the one that
                has made it.
            KeyRefused: the role of this process's key doesn't let it.
        """
        self._require_open()
        require_io(io, "Cluster.submit")
        level = self._level("Cluster.submit", snapshots)
        progress = expect.progress(progress, "Cluster.submit")
        if name is None:
            if keep_for is not None or replace is not False:
                raise MatchError("Cluster.submit: keep_for and replace are for runs with a name")
            return RunHandle(self._host, self._host.runs.submit(io, context, level), progress)
        name = expect.run_name(name, "Cluster.submit")
        if keep_for is not None:
            keep_for = expect.seconds(keep_for, "Cluster.submit", "keep_for")
        pending = self._host.named_runs.submit(
            io, context, name, level, keep_seconds=keep_for, replaces=bool(replace)
        )
        return NamedRun(self._host, pending, name, progress)

    def ship(self, *paths: str | PathLike[str]) -> None:
        """Send code along with the runs that begin from now on, to all workers that they come to.

        A module that is imported from such a path here is then imported there, though nobody has
        installed it: also by functions that import it when they are called, and with the files that
        lie beside it. A worker gets it once, and looks there first. If it changes, call this again:
        runs that begin then get the new version, also of modules that workers have imported.

        Args:
            paths: for each, a package (a directory with an `__init__.py`), a directory with modules
                and packages in it, a module (`.py`), or a wheel or zip file; 256 MiB at most.

        Raises:
            MatchError: one of them is nothing of this, or too large.
            OSError: one of them can't be read.
            ClusterClosed: the cluster is closed.

        >>> import tempfile, pathlib
        >>> from distio import Cluster, io
        >>> def double(n):
        ...     import doubling
        ...     return doubling.double(n)
        >>> with tempfile.TemporaryDirectory() as directory, Cluster.local(workers=1) as cluster:
        ...     module = pathlib.Path(directory, "doubling.py")
        ...     _ = module.write_text("def double(n): return 2 * n")
        ...     cluster.ship(module)
        ...     cluster.submit(io.defer(double, 21), None).result()
        Ok(success=42)
        """
        self._require_open()
        from distio.runtime.archives import pack  # few need it

        archives = [pack(path) for path in paths]
        self._host.runs.ship(archives)

    def attach(self, name: str) -> NamedRun[Any, Any]:
        """Get hold of a run that was submitted under a name, by any process.

        The last log records of the run come first, then those that follow. To leave the cluster is
        to detach: the run goes on.

        Args:
            name: the name of the run.

        Returns:
            The run, which may have ended: its outcome is kept for a while.

        Raises:
            MatchError: `name` can't be that of a run.
            RunUnknown: no run has this name; the message names those that are like it.
            ClusterClosed: the cluster is closed, or its coordinator lost.
            KeyRefused: the role of this process's key doesn't let it.
        """
        self._require_open()
        name = expect.run_name(name, "Cluster.attach")
        return NamedRun(self._host, self._host.named_runs.attach(name), name)

    def runs(self) -> list[RunStatus]:
        """How all named runs fare: those that go on, and those whose outcomes are kept.

        Raises:
            ClusterClosed: the cluster is closed, or its coordinator lost.
            KeyRefused: the role of this process's key doesn't let it.
        """
        self._require_open()
        return [status_of(run) for run in self._host.named_runs.list()]

    def cancel(self, name: str) -> RunStatus:
        """Cancel a named run, without waiting for its end.

        Args:
            name: the name of the run.

        Returns:
            How the run fared. One that had ended before isn't changed.

        Raises:
            MatchError: `name` can't be that of a run.
            RunUnknown: no run has this name; the message names those that are like it.
            ClusterClosed: the cluster is closed, or its coordinator lost.
            KeyRefused: the role of this process's key doesn't let it.
        """
        return self._act(name, "cancel")

    def forget(self, name: str) -> RunStatus:
        """Forget the outcome of a named run, so that another run may have its name.

        Args:
            name: the name of the run.

        Returns:
            How the run had ended.

        Raises:
            MatchError: `name` can't be that of a run.
            RunUnknown: no run has this name; the message names those that are like it.
            RunRefused: the run goes on.
            ClusterClosed: the cluster is closed, or its coordinator lost.
            KeyRefused: the role of this process's key doesn't let it.
        """
        return self._act(name, "forget")

    def _act(self, name: str, action: NamedRunAction) -> RunStatus:
        self._require_open()
        name = expect.run_name(name, f"Cluster.{action}")
        found = self._host.named_runs.act(lambda number: ActOnNamedRun(number, name, action))
        return status_of(found)

    def _require_open(self) -> None:
        self._host.refuse_in_child()
        if self._is_closed:
            raise ClusterClosed(CLOSED)

    def _level(self, where: str, snapshots: Any) -> Snapshots:
        if snapshots is None:
            return self._snapshots
        level: Snapshots = expect.one_of(LEVELS, snapshots, where, "snapshots")
        return level
