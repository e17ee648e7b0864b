"""The command line of the daemon: `distio-worker URL [--threads N] [--processes N]`."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from typing import Annotated

import typer

from distio.errors import ClusterError
from distio.runtime.launching import describe_exit
from distio_worker.host import end, serve

__all__ = ["main"]

_USAGE_ERROR = 64

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def worker(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where the coordinator listens, as it prints it.")
    ],
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads that step fibers.")] = 1,
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many worker processes.")
    ] = 1,
    lifeline: Annotated[bool, typer.Option(hidden=True, help="End with standard input.")] = False,
) -> None:
    """Host fibers for the cluster at URL, until it closes or this process is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if processes > 1:
        _supervise(url, threads, processes)
        return
    try:
        serve(url, threads, lifeline=0 if lifeline else None)
    except ClusterError as error:
        print(f"distio-worker: {error}", file=sys.stderr)
        end(_USAGE_ERROR)
    end(0)


def _supervise(url: str, threads: int, processes: int) -> None:
    """Run so many workers as processes of their own; end when all have ended."""
    command = [sys.executable, "-m", "distio_worker.main", url, "--lifeline"]
    command += ["--threads", str(threads)]
    # the pipes stay open, and nothing is written to them, as long as this process lives
    children = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(processes)]

    def pass_on(number: int, frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    codes = []
    for child in children:
        code = child.wait()
        codes.append(code)
        if code not in (0, _USAGE_ERROR):
            logging.error("worker process %d: %s", child.pid, describe_exit(code))
    if any(codes):
        raise typer.Exit(_USAGE_ERROR if _USAGE_ERROR in codes else 1)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
