"""From objects to bytes.

A dump is written by two picklers that share a `Scope`. The first writes the body, in which what is
found under a name in a script's namespace is only named. The second writes the bundle, which
defines these names.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any

from distio.core.pickling.modules import sources_of
from distio.core.pickling.payloads import Dumped, Writer, digest_of
from distio.core.pickling.pickler import Pickler
from distio.core.pickling.scope import Scope
from distio.core.pickling.spaces import ObjectSpace, current_space

__all__ = ["dump"]


def dump(
    obj: Any,
    *,
    is_strict: bool = False,
    is_trial: bool = False,
    with_sources: bool = False,
    writer: Writer | None = None,
) -> Dumped:
    """Pickle an object, with whatever of scripts it needs.

    Args:
        obj: which.
        is_strict: whether to fail for an exception that would arrive as a `ForeignException`.
        with_sources: whether modules that others may not find travel along.
        is_trial: whether all that counts is whether it can be done.
        writer: says whether large values are attached, which they aren't by default; for several
            dumps in a row, the same one.

    Raises:
        Exception: something in it can't be pickled.
    """
    scope = Scope(current_space(), is_strict=is_strict, is_trial=is_trial)
    writer = writer or Writer(attaches=False)
    try:
        Pickler(writer, scope, defines=False).dump(obj)
    finally:
        body = writer.take()
    bundle = _bundle(scope, with_sources)
    return Dumped.of(body, bundle, scope.handles, scope.references, scope.generators.copied)


def _bundle(scope: Scope, with_sources: bool) -> bytes:
    definitions, headings = b"", []
    if scope.namespaces:
        definitions = _definitions(scope)
        generation = _generation_of(scope, definitions)
        headings = [namespace.heading(generation) for namespace in scope.namespaces]
    sources, space = [], scope.space
    if with_sources and scope.modules:
        sources = sources_of(scope.modules, space.reach, space.sources.came)
    if not (sources or headings or scope.defines_classes):
        return b""
    return pickle.dumps((sources, headings), pickle.HIGHEST_PROTOCOL) + definitions


def _definitions(scope: Scope) -> bytes:
    """All that is needed of the namespaces; to define something may need more of them."""
    file = BytesIO()
    pickler = Pickler(file, scope, defines=True)
    while fresh := {space.index: names for space in scope.namespaces if (names := space.take())}:
        pickler.dump(fresh)
    return file.getvalue()


def _generation_of(scope: Scope, definitions: bytes) -> int:
    """The number of the generation to which the variables of a bundle belong, as they are now."""
    generations, lock = scope.space.generations, scope.space.lock
    digest = digest_of(definitions)
    with lock:
        if scope.is_trial or generations.has(digest):
            return generations.number
    digests = {
        key: digest_of(_definition(scope.space, value))
        for namespace in scope.namespaces
        for key, value in namespace.defined().items()
    }
    with lock:
        generations.note(digest, digests)
        return generations.number


def _definition(space: ObjectSpace, value: Any) -> bytes:
    """The pickle of one variable, without those that it names."""
    file = BytesIO()
    Pickler(file, Scope(space, is_trial=True), defines=True).dump(value)
    return file.getvalue()
