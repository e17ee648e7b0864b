"""Resources: values that are released whatever happens while they are used.

>>> from distio import io, resource
>>> log = []
>>> file = resource.from_open_close(
...     lambda: log.append("open"), lambda opened, status: log.append("close")
... )
>>> file.with_(io.defer(log.append, "use")).then(io.defer(lambda: log)).run(None)
Ok(success=['open', 'use', 'close'])
"""

from distio._public import publish
from distio.resource._limits import lock, rate_limit, reentrant_lock, semaphore
from distio.resource._making import (
    async_,
    defer,
    defer_read,
    defer_read_resource,
    defer_resource,
    error,
    errors,
    from_async_with,
    from_io_resource,
    from_open_close,
    from_open_close_io,
    from_result,
    from_with,
    lift_io,
    panic,
    pure,
    read,
    sleep,
    sleep_until,
    yield_,
)
from distio.resource._resource import Resource, noop_close
from distio.resource._several import traverse, zip, zip_par

__all__ = [
    "Resource",
    "async_",
    "defer",
    "defer_read",
    "defer_read_resource",
    "defer_resource",
    "error",
    "errors",
    "from_async_with",
    "from_io_resource",
    "from_open_close",
    "from_open_close_io",
    "from_result",
    "from_with",
    "lift_io",
    "lock",
    "noop_close",
    "panic",
    "pure",
    "rate_limit",
    "read",
    "reentrant_lock",
    "semaphore",
    "sleep",
    "sleep_until",
    "traverse",
    "yield_",
    "zip",
    "zip_par",
]

publish(__name__, globals())
