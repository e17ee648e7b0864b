"""Pickling: from objects to bytes.

A dump is written by two picklers that share a `Scope`. The first writes the body, in which what is
found under a name in a script's namespace is only named. The second writes the bundle, which
defines these names.
"""

from __future__ import annotations

from typing import Any

from distio.core.pickling.bundles import bundle_of
from distio.core.pickling.code_records import manifest_of
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.pickling.pickler import Pickler
from distio.core.pickling.scope import Scope
from distio.core.pickling.spaces import current_space

__all__ = ["dump"]


def dump(
    obj: Any,
    *,
    is_strict: bool = False,
    is_trial: bool = False,
    with_sources: bool = False,
    reads_files: bool = True,
    writer: Writer | None = None,
) -> Dumped:
    """Pickle an object, with whatever of scripts it needs.

    Args:
        obj: which.
        is_strict: whether to fail for an exception that would arrive as a `ForeignException`.
        with_sources: whether modules that others may not find travel along.
        reads_files: whether such modules may be in files here; else they have come as text.
        is_trial: whether all that counts is whether it can be done.
        writer: says whether code is attached, which it isn't by default, and how large values are
            named; for several dumps in a row, the same one.

    Raises:
        Exception: something in it can't be pickled.
    """
    scope = Scope(current_space(), is_strict=is_strict, is_trial=is_trial)
    writer = writer or Writer(attaches=False, is_trial=is_trial)
    writer.store = scope.space.buffers
    if writer.attaches:
        scope.apart = {}
    try:
        Pickler(writer, scope, defines=False).dump(obj)
    finally:
        written = writer.take()
    if scope.apart:
        written.attachments.update(scope.apart)
    if not reads_files and not scope.space.sources.came:
        with_sources = False
    bundle = bundle_of(scope, writer, with_sources=with_sources, reads_files=reads_files)
    copied = scope.generators.copied
    dumped = Dumped.of(written, bundle, scope.handles, scope.references, copied)
    if not (writer.attaches and scope.code):
        return dumped
    manifest = manifest_of(scope.code.values())
    dumped.attachments[manifest.digest] = manifest.payload
    return dumped._replace(code=manifest.digest, named=scope.code)
