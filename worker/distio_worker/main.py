"""The command line of the daemon: `distio-worker URL [--threads N] [--processes N]`."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
from typing import Annotated

import typer

from distio.errors import ClusterError
from distio.runtime.cores import share_of_cores, thread_limits
from distio.runtime.launching import (
    Lifeline,
    describe_exit,
    hold_lifeline,
    interrupts_wait,
    start_program,
)
from distio.runtime.patience import PATIENCE_SECONDS
from distio.runtime.python_options import python_options
from distio.runtime.refusals import system_refused
from distio_worker.host import end, serve
from distio_worker.process import leave_interrupts_to_program, prepare_streams

__all__ = ["main"]

_USAGE_ERROR = 64

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _seconds(number: float) -> float:
    if not 0 < number < math.inf:
        raise typer.BadParameter("give a number of seconds above 0")
    return number


@app.command()
def worker(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where the coordinator listens, as it prints it.")
    ],
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads that step fibers.")] = 1,
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many worker processes.")
    ] = 1,
    blas_threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=False,
            help="Threads that BLAS and OpenMP start in each process; by default its share of the "
            "cores, where variables like OMP_NUM_THREADS don't say otherwise.",
        ),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=_seconds,
            help="How long the coordinator may give no sign of life, because it is stopped or cut "
            "off, before it is lost.",
        ),
    ] = PATIENCE_SECONDS,
    lifeline: Annotated[
        int | None, typer.Option(hidden=True, help="End with this descriptor.")
    ] = None,
) -> None:
    """Host fibers for the cluster at URL, until it closes or this process is told to end."""
    if lifeline is not None:
        hold_lifeline(lifeline)
        leave_interrupts_to_program()
    prepare_streams()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    os.environ.update(thread_limits(blas_threads, share_of_cores(processes), os.environ))
    try:
        if processes == 1:
            serve(url, threads, lifeline=lifeline, patience=patience)
        else:
            _supervise(url, threads, processes, patience)
    except ClusterError as error:
        print(f"distio-worker: {error}", file=sys.stderr)
        end(_USAGE_ERROR)
    end(0)


def _supervise(url: str, threads: int, processes: int, patience: float) -> None:
    """Run so many workers as processes of their own; end when all have ended."""
    children = _start(url, threads, processes, patience)
    expected = {0}

    def pass_on(number: int, frame: object) -> None:
        expected.add(-signal.SIGTERM)  # those that have no handler yet
        for child in children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    codes = {child.pid: child.wait() for child in children}
    failed = {pid: code for pid, code in codes.items() if code not in expected}
    for pid, code in failed.items():
        if code != _USAGE_ERROR:
            logging.error("worker process %d: %s", pid, describe_exit(code))
    if failed:
        raise typer.Exit(_USAGE_ERROR if _USAGE_ERROR in failed.values() else 1)


def _start(
    url: str, threads: int, processes: int, patience: float
) -> list[subprocess.Popen[bytes]]:
    lifeline = Lifeline()
    arguments = [url, "--threads", str(threads), "--lifeline", str(lifeline.reader)]
    arguments += ["--patience", str(patience)]
    options = python_options()
    try:
        with interrupts_wait():
            return [
                start_program("distio_worker.main", *arguments, lifeline=lifeline, options=options)
                for _ in range(processes)
            ]
    except OSError as error:
        lifeline.close()
        raise system_refused(f"start {processes} worker processes", error) from error


def main(arguments: list[str] | None = None) -> None:
    """The console script."""
    app(arguments, prog_name="distio-worker")


if __name__ == "__main__":
    main()
