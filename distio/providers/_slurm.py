"""Workers that are jobs of Slurm."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, final

from distio.core import expect
from distio.errors import ClusterError, MatchError
from distio.providers._tools import ask, tail
from distio.runtime.addresses import own_address
from distio.runtime.keys_folder import KeysFolder
from distio.runtime.provider import KEYS, Command, Ended, Pending, Provider, Running, State

__all__ = ["Slurm"]

_SYSTEM: Final = "Slurm"
_PREFIX: Final = "slurm-"
_PENDING: Final = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SUSPENDED"}
_RUNNING: Final = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED"}
_LEFT: Final = "COMPLETED"
_UNKNOWN: Final = "Invalid job id"
_TIME: Final = re.compile(r"(\d+-)?\d+(:\d+){0,2}")


@final
class Slurm(Provider):
    """Workers that are jobs of Slurm, one each; this program runs where `sbatch` is.

    Slurm tells a job to leave before its time is over (`--signal`), and the worker does: its fibers
    go on elsewhere. A job that ends is followed by another one. The words of Slurm about a job's
    end, like OUT_OF_MEMORY, are the reason in `WorkerLost`.

    >>> from distio.providers import Slurm
    >>> Slurm(partition="short", time="1:00:00", cpus=4, prologue="module load python")
    Slurm(partition='short')

    Args:
        partition: of these nodes; empty: Slurm's own choice.
        time: the longest time that a job may take, as for `sbatch --time`: minutes, or "1:00:00".
        cpus: the number of cores of each job.
        memory: the memory of each job, as for `sbatch --mem`: "4G".
        prologue: lines of a shell script, before the worker is started.
        options: more options of `sbatch`, like `["--account=physics", "--gres=gpu:1"]`.
        python: the Python on the nodes, which has distio; by default the path of this one.
        directory: where the jobs write their logs, and work; nodes and this machine share it. By
            default the working directory.
        leave_seconds: how many seconds before its time is over a job is told to leave.
        bind: where the coordinator listens, `tcp://ADDRESS:PORT`, so that nodes reach it; port 0:
            any that is free. By default at the address of this host.

    Raises:
        MatchError: `time` isn't one.
    """

    def __init__(
        self,
        *,
        partition: str = "",
        time: str = "",
        cpus: int = 1,
        memory: str = "",
        prologue: str = "",
        options: Sequence[str] = (),
        python: str = sys.executable,
        directory: str = "",
        leave_seconds: int = 60,
        bind: str = "",
    ) -> None:
        if time and not _TIME.fullmatch(time):
            raise MatchError(
                f'Slurm: expected a time like "30" (minutes) or "1:00:00", but got '
                f"{expect.shown(time)}"
            )
        self.bind = bind or f"tcp://{own_address()}:0"
        self._partition = partition
        given = {
            "--partition": partition,
            "--time": time,
            "--mem": memory,
            "--cpus-per-task": str(cpus),
            "--signal": f"B:TERM@{leave_seconds}",
        }
        self._options = [f"{name}={value}" for name, value in given.items() if value]
        self._options += options
        self._prologue = prologue
        self._python = python
        self._directory = Path(directory).absolute()
        self._keys: KeysFolder | None = None

    def __repr__(self) -> str:
        return f"Slurm(partition={self._partition!r})"

    def script(self, command: Command) -> str:
        """The script of a job, which is that of an array: each task has a number of its own."""
        environment = dict(command.environment)
        if command.keys:
            environment[KEYS] = str(self._keys_folder(command.keys))
        exports = [f"export {n}={shlex.quote(v)}" for n, v in environment.items()]
        worker = shlex.join([self._python, "-m", "distio_worker.main", *command.common()])
        name = f'"{_PREFIX}${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"'
        serial = f"$(({command.first} + SLURM_ARRAY_TASK_ID))"
        lines = ["#!/bin/sh", *exports, self._prologue]
        return "\n".join([*lines, f"exec {worker} --serial {serial} --name {name}", ""])

    def _keys_folder(self, keys: Mapping[str, bytes]) -> Path | None:
        """A folder that nodes share, and only this user enters."""
        if self._keys is None:
            try:
                self._keys = KeysFolder(keys, self._directory)
            except OSError as error:
                raise ClusterError(
                    f"can't put the keys of workers into {self._directory} ({error.strerror}); "
                    f"give another: Slurm(directory=...)"
                ) from error
        return self._keys.path

    def start(self, command: Command, count: int) -> list[str]:
        fixed = ["--parsable", "--job-name=distio", "--ntasks=1", "--no-requeue"]
        output = f"--output={self._directory / 'distio-%A_%a.log'}"
        place = [f"--chdir={self._directory}", output, f"--array=0-{count - 1}"]
        answer = ask(
            _SYSTEM, ["sbatch", *fixed, *place, *self._options], stdin=self.script(command)
        )
        job = answer.strip().partition(";")[0]  # a cluster may be named behind it
        return [f"{_PREFIX}{job}_{index}" for index in range(count)]

    def status(self, names: Sequence[str]) -> Mapping[str, State]:
        ids = [name.removeprefix(_PREFIX) for name in names]
        if not ids:
            return {}
        jobs = ",".join({id.partition("_")[0] for id in ids})
        known = dict(_states(_queue(jobs)))
        missing = [id for id in ids if id not in known]
        known |= {id: (state, "") for id, state in self._past(missing).items()}
        return {_PREFIX + id: self._state(id, *known[id]) for id in ids}

    def _past(self, ids: Sequence[str]) -> dict[str, str]:
        """How jobs have ended that are in no queue any more."""
        if not ids:
            return {}
        try:
            columns = "--format=JobID,State"
            answer = ask(_SYSTEM, ["sacct", "-n", "-X", "-P", "-j", ",".join(ids), columns])
        except ClusterError:  # there may be no accounting
            answer = ""
        ended = dict(line.split("|", 1) for line in answer.splitlines() if "|" in line)
        return {id: ended.get(id, "gone from the queue").split(" by ")[0] for id in ids}

    def _state(self, id: str, state: str, reason: str) -> State:
        if state in _PENDING:
            return Pending(f"{state} ({reason})")
        if state in _RUNNING:
            return Running()
        log = self._directory / f"distio-{id}.log"
        return Ended(f"job {id} of Slurm: {state}", tail(log), has_left=state == _LEFT)

    def close(self, names: Sequence[str]) -> None:
        keys, self._keys = self._keys, None
        if keys is not None:
            keys.remove()
        super().close(names)

    def stop(self, names: Sequence[str], seconds: float) -> None:
        states = self.status(names)
        running = [n for n, state in states.items() if isinstance(state, Running)]
        told = running if seconds else []
        ended = [n for n in names if n not in told and not isinstance(states[n], Ended)]
        for options, chosen in ((["--signal=TERM", "--batch"], told), ([], ended)):
            if chosen:
                ask(_SYSTEM, ["scancel", *options, *(n.removeprefix(_PREFIX) for n in chosen)])


def _queue(jobs: str) -> str:
    """The answer of Slurm about these jobs, as long as it remembers them."""
    command = ["squeue", "-h", "-r", "-t", "all", "-j", jobs, "-o", "%i|%T|%r"]
    try:
        return ask(_SYSTEM, command)
    except ClusterError as error:
        if _UNKNOWN in str(error):  # of one job; of several it says nothing
            return ""
        raise


def _states(lines: str) -> list[tuple[str, tuple[str, str]]]:
    """By id of a job: its state, and why it waits."""
    found: list[tuple[str, tuple[str, str]]] = []
    for line in lines.splitlines():
        id, state, reason = line.strip().split("|", 2)
        found.append((id, (state, reason)))
    return found
