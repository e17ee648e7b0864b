"""One program that an engine starts on many hosts, like srun and mpirun: who is who, where to meet.

Rank 0 has the coordinator, and is the client. The others are workers. They meet by a file in a
directory that all of them share, which has the name of their job and says where the coordinator
listens.

Rules
-----
- Rank 0 replaces the file of an earlier job of that name, and removes its own in the end.
- A file that an earlier job has left behind does no harm: the others wait until a coordinator
  answers at the address in it.
- A file that isn't this user's alone is refused: whoever wrote it could have programs run here.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, final

from distio.errors import ClusterError
from distio.runtime.joining import require_listener
from distio.runtime.keys import KEYS_VARIABLE, write_files

__all__ = ["Meeting", "Rank", "rank_of", "serve_rank"]

_FIRST_SECONDS: Final = 0.02
_LONGEST_SECONDS: Final = 0.5
"""How often to look for the file: of a shared directory, no system tells that a file has come."""
_PROBE_SECONDS: Final = 5.0

_VARIABLES: Final = (
    # mpirun may be started within a job of Slurm, so its own variables come first
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid")),
    ("SLURM_PROCID", "SLURM_NTASKS", ("SLURM_JOB_ID",)),
    ("PMI_RANK", "PMI_SIZE", ("PMI_ID", "PMI_JOBID")),
)
"""The variables of engines: the rank, the number of processes, and what names the job."""


@final
@dataclass(frozen=True)
class Rank:
    """The rank of this process among those of a job.

    Args:
        number: from 0.
        size: how many there are.
        job: what all of them call their job.
        is_on_one_host: whether all of them are on one host, as far as the engine tells.
    """

    number: int
    size: int
    job: str
    is_on_one_host: bool = False


def rank_of(environment: Mapping[str, str]) -> Rank:
    """The rank that an engine has told a process.

    >>> rank_of({"PMI_RANK": "2", "PMI_SIZE": "4", "PMI_JOBID": "job"})
    Rank(number=2, size=4, job='job', is_on_one_host=False)

    Raises:
        ClusterError: none has.
    """
    for rank, size, jobs in _VARIABLES:
        if rank in environment:
            named = [environment[each] for each in jobs if each in environment]
            job = named[0] if named else str(os.getppid())
            if rank.startswith("SLURM"):
                job += f".{environment.get('SLURM_STEP_ID', '')}"
            count = int(environment[size])
            there = environment.get("OMPI_COMM_WORLD_LOCAL_SIZE")
            is_on_one_host = environment.get("SLURM_STEP_NUM_NODES", "") == "1"
            if rank.startswith("OMPI"):
                is_on_one_host = there == str(count)
            return Rank(int(environment[rank]), count, job, is_on_one_host)
    raise ClusterError(
        "this process has no rank: start the program on each host by srun or mpirun, like "
        "`srun --ntasks=4 python main.py`, or use Cluster.local"
    )


@final
class Meeting:
    """The file by which the ranks of a job meet.

    Args:
        directory: the directory that they share.
        job: the name of the job.
    """

    def __init__(self, directory: Path, job: str) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        safe = "".join(each if each.isalnum() or each in ".-" else "_" for each in job)
        self.path = directory / f"distio-{safe}.json"
        self.keys = directory / f"distio-{safe}.keys"
        """The folder with the keys of workers, if they need some."""

    def announce(self, url: str, keys: Mapping[str, bytes]) -> None:
        """Say where the coordinator listens; whoever reads finds all of it.

        Args:
            url: where.
            keys: what is to be in the folder of keys.
        """
        if keys:
            write_files(self.keys, keys)
        draft = self.path.with_suffix(f".{os.getpid()}")
        with suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"url": url}, file)
        draft.rename(self.path)

    def wait(self, seconds: float) -> str:
        """Wait until a coordinator answers where the file says; return its URL.

        Raises:
            ClusterError: none does.
        """
        give_up_at, pause = time.monotonic() + seconds, _FIRST_SECONDS
        why = "it isn't there"
        while time.monotonic() < give_up_at:
            try:
                url: str = json.loads(self._read())["url"]
                require_listener([url], _PROBE_SECONDS)
                return url
            except FileNotFoundError:
                why = "it isn't there"
            except (ClusterError, OSError, ValueError, KeyError, TypeError) as error:
                why = str(error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_SECONDS)
        raise ClusterError(
            f"rank 0 has not said within {seconds:g} s where it is, in {self.path}: {why}; all "
            f"hosts have to share its directory, which directory= sets"
        )

    def _read(self) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise ClusterError("it is not a file of this user alone")
            return file.read()

    def remove(self) -> None:
        """Remove the file: no rank is to come any more; may be called again."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.keys, ignore_errors=True)


def serve_rank(rank: Rank, meeting: Meeting, threads: int, timeout: float) -> NoReturn:
    """Become a worker: `distio-worker` takes the place of this program in its process.

    Raises:
        ClusterError: rank 0 isn't found.
    """
    url = meeting.wait(timeout)
    # fibers find the modules that the program would find here
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    if meeting.keys.exists():
        environment[KEYS_VARIABLE] = str(meeting.keys)
    options = ["--threads", str(threads), "--name", f"rank-{rank.number}"]
    command = [sys.executable, "-m", "distio_worker.main", url, *options]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execve(sys.executable, command, environment)
