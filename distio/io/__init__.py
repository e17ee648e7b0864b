"""Programs as values: everything that makes an `IO`.

>>> from distio import io
>>> def double(x):
...     return io.defer(lambda: 2 * x)
>>> io.traverse([1, 2, 3], double).run(None)
Ok(success=[2, 4, 6])
"""

from distio._public import publish
from distio.core.actors import Actor
from distio.core.ops.base import IO
from distio.core.status import Status
from distio.io._actors import actor
from distio.io._cancellation import Scope, on_cancel, scope, timeout, uncancelable
from distio.io._checkpoints import checkpoint, once, step
from distio.io._direct import do, restart_from
from distio.io._failures import bracket, error, errors, from_result, panic
from distio.io._fibers import Fiber, current_fiber, named, parallel, wait, yield_
from distio.io._interop import async_, blocking, from_coroutine, from_future, on_main_thread
from distio.io._lists import sequence, traverse, zip
from distio.io._locals import Local
from distio.io._memoize import memoize
from distio.io._parallel import first_ok, race, traverse_par, zip_par
from distio.io._placement import placed
from distio.io._random import random, random_generator, random_seed, seeded
from distio.io._time import now, sleep, sleep_until
from distio.io._values import defer, defer_io, defer_read, defer_read_io, pure, read, rec, safe

__all__ = [
    "IO",
    "Actor",
    "Fiber",
    "Local",
    "Scope",
    "Status",
    "actor",
    "async_",
    "blocking",
    "bracket",
    "checkpoint",
    "current_fiber",
    "defer",
    "defer_io",
    "defer_read",
    "defer_read_io",
    "do",
    "error",
    "errors",
    "first_ok",
    "from_coroutine",
    "from_future",
    "from_result",
    "memoize",
    "named",
    "now",
    "on_cancel",
    "on_main_thread",
    "once",
    "panic",
    "parallel",
    "placed",
    "pure",
    "race",
    "random",
    "random_generator",
    "random_seed",
    "read",
    "rec",
    "restart_from",
    "safe",
    "scope",
    "seeded",
    "sequence",
    "sleep",
    "sleep_until",
    "step",
    "timeout",
    "traverse",
    "traverse_par",
    "uncancelable",
    "wait",
    "yield_",
    "zip",
    "zip_par",
]

publish(__name__, globals())
