"""A web service whose requests run programs on a cluster: count the primes below a number.

    python examples/fastapi_app.py --port 8000 --workers 2
    curl http://127.0.0.1:8000/count/100000
    curl --no-buffer http://127.0.0.1:8000/progress/1000000
    curl --request PUT 'http://127.0.0.1:8000/jobs/mine?n=1000000'
    curl 'http://127.0.0.1:8000/jobs/mine?wait=60'

The service has its cluster as long as it lives. A request whose client goes away is cancelled. At
SIGTERM the service ends its requests, releases what they hold, and ends its workers.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final

import anyio
import typer
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from distio import IO, Cluster, Resource, io, resource
from distio.errors import RunRefused, RunUnknown

PART: Final = 20_000
"""How many numbers a fiber looks at: that takes some 0.05 s, and isn't cancelled in between."""
END_SECONDS: Final = 2
"""How long requests may go on after a SIGTERM, and then how long they may take to release."""

log = logging.getLogger("primes")
settings: dict[str, int] = {"workers": 2}


# -- programs: they know nothing of the web --------------------------------------------------


def primes_between(low: int, high: int) -> int:
    """How many primes there are from `low` up to, but not, `high`; runs on a worker."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(max(2, low), high))


def ledger(n: int) -> Resource[Any, Any, None]:
    """Stands for what a request opens, and has to close: a transaction, a file, a lease."""
    opened = io.defer(log.info, "opened the ledger of %d", n)
    return resource.from_open_close_io(
        opened, lambda _, status: io.defer(log.info, "closed the ledger of %d", n)
    )


Report = Callable[[dict[str, int]], Awaitable[None]]


@io.do
async def count(n: int, report: Report | None = None) -> int:
    """Count the primes below `n` on all workers.

    Args:
        n: the number.
        report: a coroutine function of the caller's event loop; told after each part.
    """
    parts = [(low, min(low + PART, n)) for low in range(0, n, PART)]
    found = 0
    async with ledger(n):
        handles = await io.parallel(io.defer(primes_between, *part) for part in parts)
        for done, handle in enumerate(handles, start=1):
            (result,) = await io.wait(handle)
            found += result.get()
            if report is not None:
                await io.from_coroutine(report, {"done": done, "of": len(parts), "primes": found})
    return found


# -- the service ------------------------------------------------------------------------------


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The service has a cluster from its start to its end."""
    async with Cluster.local(workers=settings["workers"], grace=END_SECONDS) as cluster:
        app.state.cluster = cluster
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/count/{n}")
def count_in_a_thread(n: int, request: Request) -> dict[str, int]:
    """A plain function: FastAPI calls it on a thread, which waits for the run."""
    result = count(n).run(None, on=request.app.state.cluster)
    return {"primes": result.get()}


@app.get("/count-async/{n}")
async def count_in_a_task(n: int, request: Request) -> dict[str, int]:
    """A coroutine: no thread waits, and the run is cancelled if the client goes away."""
    result = await while_connected(request, count(n))
    return {"primes": result.get()}


@app.get("/progress/{n}")
async def count_with_progress(n: int, request: Request) -> StreamingResponse:
    """Server-sent events: one after each part."""
    events = progress_of(n, request.app.state.cluster)
    return StreamingResponse(events, media_type="text/event-stream")


@app.put("/jobs/{name}", status_code=202)
def start_a_job(name: str, n: int, request: Request) -> dict[str, str]:
    """A run with a name goes on when the request has ended; the same one again changes nothing."""
    try:
        request.app.state.cluster.submit(count(n), None, name=name)
    except RunRefused as refused:
        raise HTTPException(409, str(refused)) from refused
    return {"job": name}


@app.get("/jobs/{name}")
def look_at_a_job(name: str, request: Request, wait: float = 0) -> dict[str, str | int]:
    """The state of a job, at its end or when so many seconds have passed; with its value if ok."""
    try:
        run = request.app.state.cluster.attach(name)
    except RunUnknown as unknown:
        raise HTTPException(404, str(unknown)) from unknown
    with suppress(TimeoutError):
        run.result(timeout=wait)
    state = run.status().state
    return {"state": state, "primes": run.result().get()} if state == "ok" else {"state": state}


async def while_connected(request: Request, program: IO[Any, Any, Any]) -> Any:
    """Run a program for as long as the client is there; frameworks don't watch by themselves."""

    async def watch(scope: anyio.CancelScope) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    result: Any = None
    async with anyio.create_task_group() as group:
        group.start_soon(watch, group.cancel_scope)
        result = await program.run_async(None, on=request.app.state.cluster)
        group.cancel_scope.cancel()
    if result is None:
        raise HTTPException(499, "the client has gone away")  # which nobody reads
    return result


async def progress_of(n: int, cluster: Cluster) -> AsyncIterator[str]:
    """The events of one count; to close this, as a client that goes away does, cancels the run."""
    events: asyncio.Queue[dict[str, int] | None] = asyncio.Queue()
    run = asyncio.create_task(count(n, events.put).run_async(None, on=cluster))
    run.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield f"data: {json.dumps(event)}\n\n"
        yield f"event: end\ndata: {json.dumps({'primes': run.result().get()})}\n\n"
    finally:
        run.cancel()
        with anyio.CancelScope(shield=True):  # the run releases what it holds
            await asyncio.wait([run])


def main(
    port: Annotated[int, typer.Option(help="0: any that is free")] = 8000,
    workers: Annotated[int, typer.Option(help="processes that count")] = 2,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    settings["workers"] = workers
    uvicorn.run(app, host="127.0.0.1", port=port, timeout_graceful_shutdown=END_SECONDS)


if __name__ == "__main__":
    typer.run(main)
