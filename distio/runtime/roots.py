"""Roots of runs that begin elsewhere, as bytes."""

from __future__ import annotations

from typing import Any

from distio.core.context_vars import of_the_caller
from distio.core.fiber import Fiber
from distio.core.ops.base import IO
from distio.core.pickling.captures import LARGE_CAPTURE
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.snapshot import dump_chunk
from distio.runtime.host import Host

__all__ = ["dump_root"]


def dump_root(host: Host, io: IO[Any, Any, Any], context: Any) -> tuple[Fiber, Dumped]:
    """The root of a run that is to leave this process.

    Args:
        host: warns of what is copied with it.
        io: the program.
        context: its context.

    Raises:
        NotPicklable: one of them can't be pickled; the message says why.
    """
    fiber = Fiber(0, 0, io, context)
    fiber.variables = of_the_caller()
    writer = Writer(attaches=True)
    dumped = dump_chunk([fiber], explain=True, writer=writer)
    if dumped.generators:
        host.copied([fiber], dumped.generators)
    if writer.size >= LARGE_CAPTURE:
        host.on_large_payload([fiber])
    return fiber, dumped
