"""The functions, classes and modules that one process has opened from pickles, or has sent.

An `ObjectSpace` keeps one namespace for each module whose functions came by value: all fibers that
use these functions share one copy of the module's global variables in this process, as they share
a module that is imported. It keeps the classes that came by value, so that each is made once, and
the sources of modules.

Opening a pickle changes nothing that is here already: a variable, a class, a function that is
known stays as it is, and what was defined in this process comes home as itself. A namespace that
was changed where it comes from, after it was sent, comes as a new *generation*, with a namespace of
its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from contextvars import ContextVar, Token
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final
from weakref import WeakValueDictionary

from distio.core.pickling.class_ids import ClassId, ClassIds
from distio.core.pickling.leftovers import release
from distio.core.pickling.modules import Reach, Sources
from distio.core.pickling.scope import ORIGIN
from distio.protocol.pieces import Bytes, joined

if TYPE_CHECKING:
    from distio.core.pickling.bundles import MadeBundle
    from distio.core.pickling.once import Kept
    from distio.core.pickling.payloads import BufferStore

__all__ = [
    "Generations",
    "Heading",
    "ObjectSpace",
    "Opened",
    "Origin",
    "attachment",
    "class_being_made",
    "class_known",
    "class_made",
    "current_space",
    "names_at",
    "opening",
    "use_space",
]

Names = dict[str, Any]

_TOKEN_BYTES: Final = 8
_MOST_BUNDLES: Final = 1_000
"""The most bundles that are remembered with the variables of the present generation."""
_OF_THE_PROCESS: Final = frozenset({"__builtins__", "__name__", "__loader__", ORIGIN})
"""Global variables that a module has in each process for itself."""


class Origin(NamedTuple):
    """The origin of a namespace: where it was defined first."""

    token: bytes
    """The token of the process."""
    module: str
    generation: int = 0


class Heading(NamedTuple):
    """The heading of a namespace in a bundle, before the variables are defined."""

    origin: Origin
    dunders: Names
    spec: tuple[str, str | None, list[str] | None] | None
    """The name, the file and the places of submodules, as in `__spec__`."""


@final
class Generations:
    """Tells when variables that were sent have been changed since.

    Variables are compared by the digests of their pickles; a bundle that is as it was before is
    known by its own.
    """

    def __init__(self) -> None:
        self.number = 0
        self._digests: dict[tuple[str, str], bytes] = {}
        """By module and name, of what was sent in this generation."""
        self._bundles: set[bytes] = set()

    def has(self, bundle: bytes) -> bool:
        """Whether a bundle with this digest was sent in this generation."""
        return bundle in self._bundles

    def note(self, bundle: bytes, digests: dict[tuple[str, str], bytes]) -> None:
        """A bundle with this digest defines these variables: do they belong to this generation?"""
        known = self._digests
        if any(known.get(key, digest) != digest for key, digest in digests.items()):
            self.number += 1
            self._digests = known = {}
            self._bundles.clear()
        if len(self._bundles) == _MOST_BUNDLES:
            self._bundles.clear()
        self._bundles.add(bundle)
        known.update(digests)


@final
class _Record:
    """A namespace that came by value."""

    __slots__ = ("__weakref__", "names", "origin", "shown", "users")

    def __init__(self, heading: Heading) -> None:
        self.origin = heading.origin
        self.names = _fresh(heading)
        self.users = 0
        """How many bundles are kept that define variables in it."""
        self.shown: Names = {}
        """The variables that are shown in a module of its name."""


@final
class Opened:
    """The namespaces of one bundle."""

    __slots__ = ("names", "records")

    def __init__(self, names: list[Names], records: list[_Record | None]) -> None:
        self.names = names
        self.records = records
        """None for a namespace of this very process, which a bundle leaves alone."""

    @property
    def is_home(self) -> bool:
        """Whether all of it is defined here anyway."""
        return not any(self.records)

    def define(self, index: int, names: Names) -> None:
        """Variables have come; those that are here already stay as they are."""
        record = self.records[index]
        if record is not None:
            for name, value in names.items():
                record.names.setdefault(name, value)


@final
class ObjectSpace:
    """One process's books of the functions, classes and modules that travel."""

    def __init__(self) -> None:
        self.token = os.urandom(_TOKEN_BYTES)
        """Tells this process apart from all others."""
        self.classes = ClassIds(self.token)
        self.generations = Generations()
        self.sources = Sources()
        self.code: dict[bytes, CodeType] = {}
        """By digest, some of the code that came apart from the functions it belongs to."""
        self.once: Kept | None = None
        """The objects opened here that are pickled once; None: there are none."""
        self.once_guard = threading.Lock()
        """Held for a look at that."""
        self.reach = Reach()
        self.bundles: dict[Any, MadeBundle] = {}
        """Some of the bundles that were made here, by what was needed."""
        self.lock = threading.RLock()
        """Held by a thread while it makes classes: each is made once."""
        self.buffers: BufferStore | None = None
        """The store for large values that are dumped here; None: there is none."""
        self.process = "this process"
        """The process's name in messages."""
        self.is_worker = False
        """Whether this process stands in for others, and has no script of its own."""
        self._records: WeakValueDictionary[Origin, _Record] = WeakValueDictionary()
        self._stand_ins: dict[str, ModuleType] = {}

    def names_of(self, module: str) -> Names | None:
        """The global variables of a module here."""
        found = sys.modules.get(module)
        return None if found is None else vars(found)

    def all_names_of(self, module: str) -> list[Names]:
        """The names of the module, and of all namespaces of it that came by value."""
        came = [each.names for each in list(self._records.values()) if each.origin.module == module]
        home = self.names_of(module)
        return came if home is None else [home, *came]

    # -- opening --------------------------------------------------------------------------

    def begin(self, headings: list[Heading]) -> Opened:
        """The namespaces of a bundle that is about to be opened (the lock is held)."""
        opened = Opened([], [])
        for heading in headings:
            is_own = heading.origin.token == self.token
            home = self.names_of(heading.origin.module) if is_own else None
            record = None
            if home is None:
                record = self._records.get(heading.origin)
                if record is None:
                    record = self._records[heading.origin] = _Record(heading)
                home = record.names
            opened.names.append(home)
            opened.records.append(record)
        return opened

    def show(self, opened: Opened) -> None:
        """In a worker, let what came be found in a module of its name, as in the program.

        Pickle, type hints and forked pools look there: `__main__` in a task is the script's.
        """
        if not self.is_worker:
            return
        for record in opened.records:
            module = None if record is None else self._stand_in(record)
            if record is not None and module is not None:
                fresh = {
                    name: value
                    for name, value in record.names.items()
                    if name not in _OF_THE_PROCESS and name not in record.shown
                }
                record.shown.update(fresh)
                vars(module).update(fresh)
                vars(module)[ORIGIN] = record.origin

    def _stand_in(self, record: _Record) -> ModuleType | None:
        """The module that shows what came by value; None for one that can be imported."""
        name = record.origin.module
        module = self._stand_ins.get(name)
        is_free = name not in sys.modules and record.names["__spec__"] is None
        if module is None and (is_free or name == "__main__"):
            module = self._stand_ins[name] = sys.modules[name] = ModuleType(name)
        return module

    def keep(self, opened: Opened) -> None:
        """A bundle is kept, to be opened again."""
        for record in opened.records:
            if record is not None:
                record.users += 1

    def release(self, opened: Opened) -> None:
        """A bundle is kept no longer: free its namespaces, unless something else uses them."""
        opened.names.clear()
        while opened.records:
            record = opened.records.pop()
            if record is None:
                continue
            with self.lock:
                record.users -= 1
                if not record.users:
                    self._free(record)

    def _free(self, record: _Record) -> None:
        module = self._stand_ins.get(record.origin.module)
        if module is not None:
            _hide(record.shown, vars(module))
        record.shown = {}
        self._forget_bundles(record.names)
        # its classes may outlive it, until Python collects them: nobody is to find one again
        hidden = self.classes.hide(record.origin)
        holder = [record.names]
        record.names = {}
        if release(holder):
            del self._records[record.origin]
        else:
            record.names = holder[0]
            self.classes.show(hidden)

    def _forget_bundles(self, names: Names) -> None:
        """Forget the bundles of this namespace: they aren't made again, and would keep it alive."""
        for key, made in [*self.bundles.items()]:
            if made.holds(names):
                self.bundles.pop(key, None)


def _hide(shown: Names, names: Names) -> None:
    for name, value in shown.items():
        if names.get(name) is value and name[:2] != "__":
            del names[name]


def _fresh(heading: Heading) -> Names:
    origin, dunders, spec = heading
    names: Names = {"__builtins__": __builtins__, ORIGIN: origin, **dunders, "__spec__": None}
    if spec is not None:
        name, place, parts = spec
        made = names["__spec__"] = ModuleSpec(
            name, None, origin=place, is_package=parts is not None
        )
        if parts is not None:
            made.submodule_search_locations = parts
    return names


# -- which space ------------------------------------------------------------------------------


class _Simulated(threading.local):
    """The space of a thread, and not of a context: each fiber has a context of its own."""

    space: ObjectSpace | None = None


_space: Final = ObjectSpace()
_simulated: Final = _Simulated()


def current_space() -> ObjectSpace:
    """The space of this process, or of the simulated one."""
    return _simulated.space or _space


class use_space:
    """A simulation: what happens in it happens in this process of the simulation."""

    __slots__ = ("_outer", "_space")

    def __init__(self, space: ObjectSpace) -> None:
        self._space = space

    def __enter__(self) -> None:
        self._outer, _simulated.space = _simulated.space, self._space

    def __exit__(self, *_: object) -> None:
        _simulated.space = self._outer


def _start_anew() -> None:
    """In a forked child: a process of its own, with what it has inherited."""
    _space.token = _space.classes.token = os.urandom(_TOKEN_BYTES)
    _space.lock = threading.RLock()
    _space.once, _space.once_guard = None, threading.Lock()
    _space.buffers = None


os.register_at_fork(after_in_child=_start_anew)


# -- what is being opened ---------------------------------------------------------------------


@final
class _Load:
    """A pickle that is being opened."""

    __slots__ = ("_filled", "_outer", "_space", "attachments", "made", "opened", "unfilled")

    def __init__(self, opened: Opened | None, attachments: Mapping[bytes, Bytes]) -> None:
        self.opened = opened
        self.attachments = attachments
        """By name, what it refers to."""
        self.made: dict[tuple[ClassId, Origin], type] = {}
        """Classes that were made in this load: parts of a pickle may define one again."""
        self.unfilled: dict[int, tuple[ClassId, Origin]] = {}
        """By identity: classes that were made, but whose state is to come; `made` has them, too."""
        self._filled: list[tuple[ClassId, Origin, type]] = []
        self._space: ObjectSpace | None = None
        self._outer: Token[_Load] | None = None

    def __enter__(self) -> None:
        self._outer = _load.set(self)

    def __exit__(self, *_: object) -> None:
        assert self._outer is not None
        _load.reset(self._outer)
        self._end()

    def lock(self, space: ObjectSpace) -> None:
        """Lock the space until this pickle is opened: no other thread makes classes of these
        meanwhile."""
        if self._space is None:
            space.lock.acquire()
            self._space = space

    def filled(self, cls: type) -> bool:
        """Whether a class was made in this load; if so, it is complete now."""
        made = self.unfilled.pop(id(cls), None)
        if made is not None:
            self._filled.append((*made, cls))
        return made is not None

    def _end(self) -> None:
        """The dump is opened, or could not be."""
        if self._space is not None:
            for id, origin, cls in self._filled:
                self._space.classes.made(id, origin, cls)
            self._space.lock.release()


_load: Final[ContextVar[_Load]] = ContextVar("load")


def opening(opened: Opened | None, attachments: Mapping[bytes, Bytes] | None = None) -> _Load:
    """A context in which unpickling refers to these namespaces, and to these attachments by
    digest."""
    return _Load(opened, attachments or {})


def attachment(digest: bytes) -> bytes:
    """The bytes of this digest, among those that what is being opened refers to."""
    return joined(_load.get().attachments[digest])


def attachments_at_hand() -> Mapping[bytes, Bytes]:
    """All attachments, by digest, to which the pickle that is being opened may refer."""
    return _load.get().attachments


def names_at(index: int) -> Names:
    """The namespace of this index, among those that what is being opened refers to."""
    opened = _load.get().opened
    assert opened is not None
    return opened.names[index]


def _origin_at(index: int | None) -> Origin:
    opened = _load.get().opened
    record = None if index is None or opened is None else opened.records[index]
    return Origin(b"", "") if record is None else record.origin


def class_known(id: ClassId, index: int | None) -> type | None:
    """The class of this id, if it is here; else the caller makes it, and no other thread does.

    Args:
        id: which.
        index: that of its module's namespace.
    """
    space, origin, load = current_space(), _origin_at(index), _load.get()
    found = space.classes.find(id, origin)
    if found is None:
        load.lock(space)
        found = load.made.get((id, origin)) or space.classes.find(id, origin)
    return found


def class_being_made(class_id: ClassId, index: int | None, cls: type) -> None:
    """A class is there, but still to be filled."""
    load = _load.get()
    load.unfilled[id(cls)] = key = class_id, _origin_at(index)
    load.made[key] = cls


def class_made(cls: type) -> bool:
    """Whether a class was made just now; then its state is to be set."""
    return _load.get().filled(cls)
