"""How modules travel: by name, and beside it by their source; those without a file by value.

Installed modules are expected to be installed everywhere. All other modules (beside the script, on
a path of the program's own, loaded from a file) are imported by name where that works; their source
travels along for where it doesn't, and for those edited since they were first sent.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import linecache
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, Final, NamedTuple, final

import cloudpickle

from distio.core.pickling.code import Import, imports_in

__all__ = [
    "OURS",
    "Reach",
    "Source",
    "Sources",
    "is_any_by_value",
    "is_everywhere",
    "is_of_python",
    "sources_of",
    "travels_by_name",
]

OURS: Final = frozenset(
    {
        "builtins",
        "distio.core.fiber",
        "distio.core.ops.base",
        "distio.core.ops.fibers",
        "distio.core.ops.timers",
        "distio.core.ops.values",
        "distio.core.pickling.code",
        "distio.core.pickling.functions",
        "distio.core.pickling.pickler",
        "distio.core.pickling.shared_code",
        "distio.result",
    }
)
"""Modules of almost every pickle; nothing has to be found out about them."""
_MOST_BYTES: Final = 4 * 1024 * 1024
"""More source than this isn't sent: a worker has to be able to import it."""


class Source(NamedTuple):
    """A module as text."""

    name: str
    text: str | None
    """None for a package that is nothing but a directory."""
    file: str
    is_package: bool
    is_edited: bool
    """Whether the module has changed since it was first sent from here."""

    @property
    def digest(self) -> bytes:
        """Tells two versions of it apart."""
        return hashlib.blake2b((self.text or "").encode(), digest_size=16).digest()


# -- where they leave -------------------------------------------------------------------------


def travels_by_name(module: ModuleType) -> bool:
    """Whether what a module defines can be looked up elsewhere: it has a place to import it from.

    Scripts have none, nor have modules that were made without an importer, or that the user has
    registered with cloudpickle to travel by value.
    """
    name = module.__name__
    if name in ("__main__", "__mp_main__") or getattr(module, "__spec__", None) is None:
        return False
    by_value = cloudpickle.list_registry_pickle_by_value()
    return not (by_value and any(parent in by_value for parent in [name, *_parents(name)]))


def is_any_by_value() -> bool:
    """Whether the user has registered any module with cloudpickle to travel by value."""
    return bool(cloudpickle.list_registry_pickle_by_value())


@cache
def is_of_python(name: str) -> bool:
    """Whether a module belongs to Python, or to distio: its version is seen to at the handshake."""
    package = name.partition(".")[0]
    if package in sys.builtin_module_names or package in sys.stdlib_module_names:
        return True
    return package in ("distio", "distio_worker")


@cache
def is_everywhere(name: str) -> bool:
    """Whether a module belongs to what every worker has: built in, or installed."""
    if is_of_python(name):
        return True
    module = sys.modules.get(name)
    places = [_file_of(module), *getattr(module, "__path__", ())]
    place = next(filter(None, places), None)
    return place is not None and os.path.realpath(place).startswith(_installed_roots())


@cache
def _installed_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    roots = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    roots += site.getsitepackages() if hasattr(site, "getsitepackages") else []
    roots.append(site.getusersitepackages())
    return tuple(os.path.realpath(root) + os.sep for root in roots)


@final
class Reach:
    """The places where the workers of this process' clusters look for modules."""

    def __init__(self) -> None:
        self._paths: dict[object, frozenset[str] | None] = {}
        """By cluster; None: nobody knows."""
        self._known: dict[tuple[str, ...], bool] = {}
        """By the places of a package: whether all find it there."""

    def add(self, cluster: object, path: Iterable[str] | None) -> None:
        """A cluster is in use, whose workers look in these directories; None: nobody knows."""
        known = None if path is None else frozenset(map(os.path.realpath, path))
        self._paths[cluster] = known
        self._known = {}

    def remove(self, cluster: object) -> None:
        """A cluster is in use no longer."""
        self._paths.pop(cluster, None)
        self._known = {}

    def has(self, name: str) -> bool:
        """Whether all workers find a module of this name where this process has found it."""
        top = name.partition(".")[0]
        package = sys.modules.get(top) or _not_imported(top)
        file = _file_of(package)
        places = [os.path.dirname(file)] if file is not None else []
        parts = getattr(package, "__path__", None)
        if parts is not None:
            places = [os.path.dirname(part) for part in parts]
        key, known = (*places,), self._known
        if key not in known:
            known[key] = self._are_reached(places)
        return known[key]

    def _are_reached(self, places: Iterable[str]) -> bool:
        roots = {os.path.realpath(place) for place in places}
        paths = list(self._paths.values())
        return all(path is not None and roots & path for path in paths)


def sources_of(
    names: Iterable[str], reach: Reach, came: Mapping[str, Source], *, reads_files: bool = True
) -> list[Source]:
    """The modules that somebody may not find, their packages, and what they import, as text.

    Args:
        names: modules that a pickle names.
        reach: where others look.
        came: those that came here as text: others may need it, too.
        reads_files: whether those are looked for that are in files here.
    """
    found: dict[str, Source] = {}
    pending = [*names]
    size = 0
    while pending:
        name = pending.pop()
        if name in found or is_of_python(name):
            continue
        module = sys.modules.get(name)
        if module is not None and is_everywhere(name):
            continue
        if module is None and reads_files:
            module = _not_imported(name)
        if module is not None and not travels_by_name(module):
            continue
        source = came.get(name)
        if source is None and module is not None and reads_files:
            source = _source_of(name, module)
        if source is None or not (source.is_edited or name in came or not reach.has(name)):
            continue
        size += len(source.text or "")
        if size > _MOST_BYTES:
            return []
        found[name] = source
        pending += [*_parents(name), *_imports_in(source)]
        pending += [] if module is None else _imported_by(module)
    return [found[name] for name in sorted(found)]


def _not_imported(name: str) -> ModuleType | None:
    """A module that isn't installed, and that nothing has imported yet: where it is."""
    return _found_at(name, tuple(sys.path))


@lru_cache(maxsize=1_000)
def _found_at(name: str, path: tuple[str, ...]) -> ModuleType | None:
    parent = name.rpartition(".")[0]
    within: Sequence[str] = path
    if parent:
        package = sys.modules.get(parent) or _found_at(parent, path)
        within = [*getattr(package, "__path__", ())]
    spec = importlib.machinery.PathFinder.find_spec(name, within)
    if spec is None:
        return None
    module = ModuleType(name)
    module.__spec__ = spec
    places = [*(spec.submodule_search_locations or ())]
    if spec.has_location and spec.origin is not None:
        module.__file__ = spec.origin
        places.append(spec.origin)
    if spec.submodule_search_locations is not None:
        module.__path__ = [*spec.submodule_search_locations]
    is_installed = any(os.path.realpath(each).startswith(_installed_roots()) for each in places)
    return None if is_installed else module


_State = tuple[int, int]
"""The time of modification of a file, and its size."""

_first_sent: Final[dict[str, _State]] = {}
"""By file: how it was when it was first sent."""
_sent_last: Final[dict[str, tuple[_State, Source]]] = {}
"""By module, so that a text is put together once."""


def _source_of(name: str, module: ModuleType) -> Source | None:
    is_package = hasattr(module, "__path__")
    file = _file_of(module)
    if file is None:
        return Source(name, None, "", True, False) if is_package else None
    try:
        stat = os.stat(file)
        state = stat.st_mtime_ns, stat.st_size
    except OSError:  # in an archive, or gone meanwhile
        state = 0, 0
    known = _sent_last.get(name)
    if known is not None and known[0] == state and known[1].file == file:
        return known[1]
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file, vars(module)))
    if not text and state[1]:
        return None  # a library in machine code
    is_edited = _first_sent.setdefault(file, state) != state
    source = Source(name, text, file, is_package, is_edited)
    _sent_last[name] = state, source
    return source


def _file_of(module: Any) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def _imported_by(module: ModuleType) -> list[str]:
    """Modules that a module has something of among its global variables."""
    found: dict[str, None] = {}
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else None
        if name is None and isinstance(value, type | type(_imported_by)):
            name = value.__module__
        if isinstance(name, str):
            found[name] = None
    return list(found)


def _imports_in(source: Source) -> list[str]:
    """The modules that a module imports, also while its functions run."""
    if source.text is None:
        return []
    package = source.name if source.is_package else source.name.rpartition(".")[0]
    return [name for each in _imports_of(source.text) for name in each.modules(package)]


@lru_cache(maxsize=1_000)
def _imports_of(text: str) -> tuple[Import, ...]:
    try:
        return imports_in(compile(text, "<text>", "exec", dont_inherit=True))
    except (SyntaxError, ValueError):  # the module that imports it hears of that
        return ()


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


# -- where they arrive ------------------------------------------------------------------------


@final
class Sources:
    """Imports modules that have come as text, if nothing else can: a finder and a loader."""

    def __init__(self) -> None:
        self.came: dict[str, Source] = {}
        """The sources that came, by name."""
        self._loaded: dict[str, bytes] = {}
        """Digests of the edited modules that were made from these sources."""

    def add(self, sources: Sequence[Source]) -> None:
        """Modules that may have to be imported; those edited meanwhile take their places."""
        if sources and self not in sys.meta_path:
            sys.meta_path.append(self)
        edited = []
        for source in sources:
            self.came[source.name] = source
            is_loaded = self._loaded.get(source.name) == source.digest
            if source.is_edited and source.name in sys.modules and not is_loaded:
                edited.append(source)
        for source in edited:
            del sys.modules[source.name]
        for source in edited:
            if source.name not in sys.modules:
                self._import(source)

    def _import(self, source: Source) -> None:
        """Make a module from the text that came, though its file could be found as well."""
        self._loaded[source.name] = source.digest
        spec = self.find_spec(source.name, None)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[source.name] = module
        self.exec_module(module)
        parent, _, child = source.name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module for the import system."""
        source = self.came.get(fullname)
        if source is None:
            return None
        loader: Any = self  # it has what the import system asks for
        spec = importlib.machinery.ModuleSpec(
            fullname, loader, origin=source.file or None, is_package=source.is_package
        )
        spec.has_location = bool(source.file)
        if source.is_package and source.file:
            spec.submodule_search_locations = [os.path.dirname(source.file)]
        return spec

    def get_source(self, fullname: str) -> str | None:
        """The text; tracebacks ask for it."""
        source = self.came.get(fullname)
        if source is None:
            raise ImportError(f"no source of {fullname!r} has come", name=fullname)
        return source.text or ""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """A module as others are."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the text, under the name of the file that it came from."""
        source = self.came[module.__name__]
        code = compile(source.text or "", source.file or "<package>", "exec", dont_inherit=True)
        exec(code, vars(module))

    def is_package(self, fullname: str) -> bool:
        """Whether the module may have submodules."""
        return self.came[fullname].is_package
