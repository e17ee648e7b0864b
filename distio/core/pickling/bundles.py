"""Bundles: how they are made, and kept as long as nothing in them changes.

A bundle defines the global variables that the functions of a pickle use, as they are when it is
made. Most pickles of a program use the same ones, and these seldom change. So a process keeps the
bundles that it makes again and again, each with a `Watch` of what is in it.
"""

from __future__ import annotations

import pickle
from typing import Any, Final, final

from distio.core.pickling.modules import Source, is_any_by_value, sources_of
from distio.core.pickling.payloads import Bundled, Writer, Written, digest_of, with_head
from distio.core.pickling.pickler import Pickler
from distio.core.pickling.scope import Scope
from distio.core.pickling.spaces import ObjectSpace
from distio.core.pickling.watching import Watch, watch

__all__ = ["MadeBundle", "bundle_of"]

_MOST_KEPT: Final = 64
_LARGEST_KEPT: Final = 1024 * 1024
_MOST_FRUITLESS: Final = 3


def bundle_of(
    scope: Scope, writer: Writer, *, with_sources: bool, reads_files: bool = True
) -> Bundled:
    """The bundle of what a body needs that was dumped with this scope; see `dump`.

    Large values in it are named by their contents: what is the same is known again, in any process.
    """
    if not scope.namespaces:
        payload = b""
        sources = _sources_of(scope, reads_files) if with_sources else []
        if sources or scope.defines_classes:
            payload = pickle.dumps((sources, []), pickle.HIGHEST_PROTOCOL)
        return Bundled.of(payload)
    named, writer.names_content = writer.names_content, True
    try:
        made = _made_anew(scope, writer) if scope.is_trial else _kept_or_made(scope, writer)
    finally:
        writer.names_content = named
    return made.with_sources(_sources_of(scope, reads_files) if with_sources else [])


def _sources_of(scope: Scope, reads_files: bool) -> list[Source]:
    if not scope.modules:
        return []
    space = scope.space
    return sources_of(scope.modules, space.reach, space.sources.came, reads_files=reads_files)


@final
class MadeBundle:
    """A bundle that may be used again."""

    __slots__ = (
        "_attachments",
        "_bundled",
        "_code",
        "_definitions",
        "_headings",
        "_modules",
        "_sources",
        "fruitless",
        "generation",
        "uses",
        "watch",
    )

    def __init__(
        self,
        scope: Scope,
        definitions: Written,
        code: dict[int, Any],
        generation: int,
    ) -> None:
        self.generation = generation
        self.watch: Watch | None = None
        """The watch over the objects in the bundle; None: nothing watches them."""
        self.fruitless = 0
        """How often it was watched in vain: it was changed at once."""
        self.uses = 1
        self._definitions, self._attachments, _ = definitions
        self._headings = [namespace.heading(generation) for namespace in scope.namespaces]
        self._code = code
        """The code that the definitions only name."""
        self._modules = tuple(scope.modules)
        """The modules that it names, and that others may not be able to import."""
        self._sources: list[Source] = []
        """The modules that came along last."""
        self._bundled: Bundled | None = None
        """The whole bundle, with these modules."""

    def is_large(self) -> bool:
        """Whether the bundle is too large to be kept, with what it refers to."""
        return bool(self._attachments) or len(self._definitions) > _LARGEST_KEPT

    def use(self, scope: Scope) -> None:
        """The bundle stands for what the scope would define."""
        self.uses += 1
        self.fruitless = 0
        scope.code.update(self._code)
        scope.modules.update(dict.fromkeys(self._modules))

    def with_sources(self, sources: list[Source]) -> Bundled:
        """The whole bundle, with the sources of some modules."""
        bundled = self._bundled
        if bundled is None or sources != self._sources:
            head = pickle.dumps((sources, self._headings), pickle.HIGHEST_PROTOCOL)
            definitions = with_head(head, self._definitions)
            bundled = Bundled.of(definitions, self._attachments)
        self._sources, self._bundled = sources, bundled
        return bundled

    def holds(self, names: dict[str, Any]) -> bool:
        """Whether the bundle refers to this namespace."""
        return self.watch is not None and self.watch.has(names)


def _kept_or_made(scope: Scope, writer: Writer) -> MadeBundle:
    """The bundle that was made of the same variables, if they are as they were; else a new one."""
    space, kept = scope.space, scope.space.bundles
    key = tuple([namespace.key() for namespace in scope.namespaces])
    known: MadeBundle | None = kept.get(key)
    if known is not None and _is_as_it_was(known, space):
        known.use(scope)
        return known
    made = _made_anew(scope, writer)
    if made.is_large() or is_any_by_value():
        kept.pop(key, None)
        return made
    if known is not None:
        made.fruitless = known.fruitless + (known.watch is not None)
        if known.watch is None and made.fruitless < _MOST_FRUITLESS:  # it is wanted again
            made.watch = watch(scope)
            if made.watch is None:
                made.fruitless = _MOST_FRUITLESS
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[key] = made
    return made


def _is_as_it_was(known: MadeBundle, space: ObjectSpace) -> bool:
    watch = known.watch
    is_of_now = known.generation == space.generations.number and not is_any_by_value()
    return is_of_now and watch is not None and watch.is_unchanged()


def _made_anew(scope: Scope, writer: Writer) -> MadeBundle:
    before, scope.code = scope.code, {}
    definitions = _definitions(scope, writer)
    code, scope.code = scope.code, {**before, **scope.code}
    generation = _generation_of(scope, definitions.body, writer)
    return MadeBundle(scope, definitions, code, generation)


def _definitions(scope: Scope, writer: Writer) -> Written:
    """Define all that is needed of the namespaces; a definition may need more of them."""
    pickler = Pickler(writer, scope, defines=True)
    try:
        while fresh := {each.index: names for each in scope.namespaces if (names := each.take())}:
            pickler.dump(fresh)
    finally:
        definitions = writer.take()
    return definitions


def _generation_of(scope: Scope, definitions: bytes, writer: Writer) -> int:
    """The number of the generation to which the variables of a bundle belong, as they are now."""
    generations, lock = scope.space.generations, scope.space.lock
    origins = repr([namespace.origin for namespace in scope.namespaces])
    digest = digest_of(digest_of(definitions) + origins.encode())  # others may define the same
    with lock:
        if scope.is_trial or generations.has(digest):
            return generations.number
    digests = {
        key: digest_of(_definition(scope.space, value, writer))
        for namespace in scope.namespaces
        for key, value in namespace.defined().items()
    }
    with lock:
        generations.note(digest, digests)
        return generations.number


def _definition(space: ObjectSpace, value: Any, writer: Writer) -> bytes:
    """The pickle of one variable, without those that it names; it has names for large values."""
    try:
        Pickler(writer, Scope(space, is_trial=True), defines=True).dump(value)
    finally:
        definition = writer.take().body
    return definition
