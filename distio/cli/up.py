"""`distio up` and `distio down`: a cluster that outlives the terminal.

A process of its own keeps the cluster: `Cluster.start` around a wait for SIGTERM. It holds a lock
on a file in a directory of this user, which has its process id. The system frees the lock when the
process ends, in whatever way, so a pid in the file is that of the process as long as the lock is
held.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO as Stream
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from distio.cli import report
from distio.errors import ClusterClosed, ClusterError
from distio.runtime.ending_signals import signals_to_end
from distio.runtime.interrupts import end_on_signals
from distio.runtime.systems import kill_watched, watch_process

if TYPE_CHECKING:
    from distio import Cluster
    from distio.cli.hosts import Hosts

__all__ = ["down", "keep", "up"]

_DOWN_SECONDS: Final = 60.0
_SHOWN_LINES: Final = 10

Name = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Of several clusters of yours, which.")
]
_HOSTS: Final = typer.Argument(
    metavar="[HOSTS.toml]",
    show_default=False,
    help="Says where the workers are. Without it, they are on this machine.",
)


class _Place:
    """The files of one cluster, in a directory that only this user may enter."""

    def __init__(self, name: str) -> None:
        if not name.isidentifier():
            raise ClusterError(f"a cluster is called by letters and digits, but got {name!r}")
        self.directory = _private_directory()
        self.lock = self.directory / f"{name}.lock"
        self.log = self.directory / f"{name}.log"
        self.url = f"ipc://{self.directory / name}.socket"

    def take(self) -> bool:
        """Hold the lock until this process ends; False: another one does."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return True

    def keeper(self) -> int | None:
        """The pid of the process that keeps the cluster; None: there is none."""
        try:
            with self.lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            text = self.lock.read_text()
            return int(text) if text else None
        return None

    def last_lines(self) -> str:
        """The end of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        return "".join(f"\n    {line}" for line in lines)


def _private_directory() -> Path:
    """The directory for the files of this user's clusters.

    Raises:
        ClusterError: another user may have made it, to read along.
    """
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    directory = Path(base, f"distio-{os.getuid()}")
    with suppress(FileExistsError):
        directory.mkdir(0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ClusterError(
            f"{directory} is not a directory for you alone; remove it, or set XDG_RUNTIME_DIR"
        )
    return directory


def up(
    hosts: Annotated[Path | None, _HOSTS] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=False,
            help="How many workers; by default what the file says, or one for each host or core.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", show_default=False, help="Threads of each worker; by default 1."
        ),
    ] = None,
    name: Name = "main",
) -> int:
    """Start a cluster that goes on when this terminal is closed, and say who has joined.

    Programs connect to it by the URL that is printed last; distio down ends it.
    """
    end_on_signals()
    try:
        place = _Place(name)
        pid = place.keeper()
        if pid is not None:
            report.complain(
                f"the cluster {name!r} is up already, at {place.url} (process {pid}); end it with "
                f"`distio down`, or give this one another --name"
            )
            return report.USAGE
        options = {"hosts": str(hosts or ""), "workers": workers, "threads": threads, "name": name}
        return _start_keeper(place, options)
    except ClusterError as error:
        report.complain(error)
        return report.USAGE


def _start_keeper(place: _Place, options: dict[str, Any]) -> int:
    reader, writer = os.pipe()
    code = "import sys; from distio.cli.up import keep; keep(sys.argv[1], int(sys.argv[2]))"
    with open(place.log, "w") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(options), str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writer],
            start_new_session=True,
        )
    os.close(writer)
    is_up = False
    try:
        with open(reader) as told:
            for line in told:
                is_up = line.startswith("up: ")
                report.say(line.rstrip("\n"))
    except BaseException:
        keeper.terminate()
        raise
    if is_up:
        return report.OK
    keeper.wait()
    report.complain(f"the cluster did not start:{place.last_lines()}")
    return report.USAGE


def keep(text: str, writer: int) -> None:
    """Keep a cluster until SIGTERM; the process that `up` starts.

    Args:
        text: what `up` was given, as JSON.
        writer: the descriptor to which it tells of who has joined.
    """
    from distio.cli.hosts import BadHosts, read_hosts

    options = json.loads(text)
    place = _Place(options["name"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if not place.take():
        sys.exit("another process starts a cluster of this name")
    try:
        hosts = read_hosts(Path(options["hosts"]) if options["hosts"] else None)
        _keep(place, hosts, options, os.fdopen(writer, "w"))
    except (BadHosts, ClusterError, TypeError, ValueError) as error:
        sys.exit(str(error))


def _keep(place: _Place, hosts: Hosts, options: dict[str, Any], told: Stream[str]) -> None:
    from distio.runtime.cluster import Cluster
    from distio.runtime.threads import start_thread
    from distio.runtime.waking import Waker

    wanted = options["workers"] or hosts.workers
    given = dict(hosts.options)
    if options["threads"]:
        given["threads"] = options["threads"]
    if not hosts.provider.bind:
        given.setdefault("bind", place.url)
    waker = Waker()
    waker.hear_signals()
    for number in signals_to_end():
        signal.signal(number, lambda *_: waker.wake())
    with Cluster.start(hosts.provider, workers=wanted, **given) as cluster:
        start_thread("distio-joinings", lambda: _tell(cluster, wanted, told))

        def wait_for_loss() -> None:
            cluster._link.join()
            waker.wake()

        start_thread("distio-loss", wait_for_loss)
        select.select([waker.reader], [], [])


def _tell(cluster: Cluster, wanted: int, told: Stream[str]) -> None:
    """Tell of all workers that join, until as many are there as are wanted."""
    known: set[int] = set()
    with told, suppress(BrokenPipeError, ClusterClosed):  # nobody listens, or it ends
        for count in range(1, wanted + 1):
            for each in cluster.wait_for(workers=count):
                if each.number not in known:
                    known.add(each.number)
                    threads = "1 thread" if each.threads == 1 else f"{each.threads} threads"
                    line = f"{each.name} has joined: process {each.pid} on {each.host}, {threads}"
                    print(line, file=told, flush=True)
        print(f"up: Cluster.connect({cluster.url!r})", file=told, flush=True)


def down(name: Name = "main") -> int:
    """End the cluster that distio up has started, and wait until all of it has ended.

    Runs that go on are cancelled, and release what they hold.
    """
    try:
        place = _Place(name)
        pid = place.keeper()
        if pid is None:
            report.complain(f"no cluster {name!r} is up")
            return report.ERRORS
        keeper = watch_process(pid)
    except ProcessLookupError:
        return report.OK  # it has ended just now
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    kill_watched(keeper, pid, signal.SIGTERM)
    poller = select.poll()
    poller.register(keeper, select.POLLIN)
    has_ended = bool(poller.poll(_DOWN_SECONDS * 1000))
    os.close(keeper)
    if not has_ended:
        report.complain(f"it has not ended within {_DOWN_SECONDS:g} s: process {pid}")
        return report.ERRORS
    report.say("The cluster has ended.")
    return report.OK
