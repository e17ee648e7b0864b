"""Checkpoints and steps: work that isn't done again when a worker is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Never

from distio.core.ops.base import IO
from distio.core.ops.checkpoints import Checkpoint, Once, Step
from distio.core.type_vars import A, P

__all__ = ["checkpoint", "once", "step"]

checkpoint: Final[IO[Any, Never, None]] = Checkpoint()
"""The program that waits until a snapshot of its fiber is stored.

If the worker of the fiber is lost later, the fiber goes on elsewhere behind the checkpoint, or
further on: nothing that it did before is done again. A fiber that can't be pickled here fails, in a
Panic on `NotPicklable`, whose message leads to the captured variable. A cancellation ends the wait.
In a run with `snapshots="births"` the fiber is lost with its worker from here on, rather than begun
again. Where nothing is kept of a fiber (threads, a client's own fibers, `snapshots="off"`), there
is nothing to wait for.

>>> from distio import io
>>> io.checkpoint.then(io.pure("goes on from here")).run(None)
Ok(success='goes on from here')
"""


def step(f: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> IO[Any, Never, A]:
    """The program that calls `f(*args, **kwargs)` as `io.defer` does, and saves what came of it.

    When `f` has returned, or raised, a snapshot of the fiber with that outcome leaves for the
    coordinator before the fiber does anything else; the fiber doesn't wait for it. If the worker is
    lost before the snapshot has left, `f` may be called again, elsewhere. If it is lost afterwards,
    `f` is not called again: the fiber goes on with the outcome. A fiber that can't be pickled with
    the outcome goes on, too, but is lost with its worker, in a Panic on `WorkerLost` that says why.
    Where nothing is kept of a fiber (threads, a client's own fibers, `snapshots="off"`), `f` is
    simply called.

    Args:
        f: a function. It may be called again, so it should do the same then: see `once`.
        args: what `f` is called with.
        kwargs: what else `f` is called with.

    Returns:
        A program that computes what the call returns. An exception of the call is a Panic.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import io
    >>> io.step(max, 3, 8).run(None)
    Ok(success=8)
    """
    return Step(f, args, kwargs)


def once(f: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> IO[Any, Never, A]:
    """The program that calls `f(*args, **kwargs)` at most once, whatever becomes of its worker.

    Before the call, the coordinator stores a snapshot of the fiber from which it would go on in
    doubt; the fiber waits for that. The outcome of the call is saved as by `step`. If the worker
    is lost in between, nobody can know whether `f` has done its work: the fiber goes on elsewhere
    with a Panic on `InDoubt`, which the program may handle. A fiber that can't be pickled fails
    before the call, in a Panic on `NotPicklable`. In a run with `snapshots="births"` the fiber is
    lost with its worker. Where nothing is kept of a fiber (threads, a client's own fibers,
    `snapshots="off"`), `f` is simply called.

    Args:
        f: a function.
        args: what `f` is called with.
        kwargs: what else `f` is called with.

    Returns:
        A program that computes what the call returns. An exception of the call is a Panic.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import io
    >>> io.once(print, "paid").run(None)
    paid
    Ok(success=None)
    """
    return Once(f, args, kwargs)
