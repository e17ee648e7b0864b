"""Whether some objects would be pickled as they were before: nothing of them was set anew.

A `Watch` looks through objects once, and notes what their pickle was made of. To look at that again
takes a fraction of what a pickle takes. It knows kinds of objects of which all can be seen at a
glance: plain values, functions, classes, modules, programs, small containers. Of any other object
it knows nothing; then the pickle has to be made anew.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field
from itertools import repeat
from operator import attrgetter, is_
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
    UnionType,
)
from typing import TYPE_CHECKING, Any, Final, final

from distio.core.ops.base import IO
from distio.core.ops.direct import is_starter
from distio.core.pickling.classes import text_hints_of_class
from distio.core.pickling.code import CodeFacts, facts_of, names_in
from distio.core.pickling.plain import PLAIN
from distio.core.pickling.scope import HEADING, MISSING, ORIGIN, is_dunder, text_hints, words_in
from distio.core.pickling.standard import UNCHANGING
from distio.core.pickling.submodules import packages_of

if TYPE_CHECKING:
    from distio.core.pickling.scope import Namespace, Scope

__all__ = ["Watch", "watch"]

_HINTS: Final = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
_parts_of_function: Final = attrgetter(
    "__code__",
    "__defaults__",
    "__kwdefaults__",
    "__closure__",
    "__name__",
    "__qualname__",
    "__module__",
    "__doc__",
    "__dict__",
    _HINTS,
)
_parts_of_class: Final = attrgetter("__bases__", "__name__", "__qualname__")
_parts_of_property: Final = attrgetter("fget", "fset", "fdel")
_CONSTANT: Final = PLAIN | UNCHANGING | {complex, type(...), type(NotImplemented), type(NO_DEFAULT)}
_PARTS_IN_TYPING: Final = ("__origin__", "__args__", "__bound__", "__constraints__")
_SET_BY_PYTHON: Final = frozenset({"__dict__", "__weakref__", "__dataclass_params__"})
"""Attributes of a class that nobody sets or changes."""
_MOST_PARTS: Final = 100
_MOST_OBJECTS: Final = 300
"""The most objects that are watched: to pickle more is hardly slower than to look at each."""


class _Unknown(Exception):
    """Raised when it can't be told whether an object was changed."""


def watch(scope: Scope) -> Watch | None:
    """Watch the objects of which the variables of a dump are made; None if changes can't be
    seen."""
    found = Watch()
    looks = _Looks(scope, found)
    try:
        for namespace in scope.namespaces:
            looks.at_namespace(namespace)
        looks.at_all_inside()
    except _Unknown:
        return None
    return found


@final
class Watch:
    """The parts of some objects, kept to be compared later."""

    __slots__ = ("absent", "cells", "containers", "found", "modules", "objects", "variables")

    def __init__(self) -> None:
        self.variables: list[tuple[dict[str, Any], list[str], list[Any]]] = []
        """Namespaces, and the values of some of their names."""
        self.absent: list[tuple[dict[str, Any], frozenset[str]]] = []
        """Namespaces, and names that they haven't got."""
        self.objects: list[tuple[Callable[[Any], tuple[Any, ...]], Any, tuple[Any, ...]]] = []
        """Functions and classes: how to get their parts, and these."""
        self.cells: list[tuple[CellType, Any]] = []
        self.containers: list[tuple[Collection[Any], list[Any]]] = []
        """Containers, or views of them, and their parts."""
        self.modules: list[tuple[str, ModuleType]] = []
        self.found: list[tuple[dict[str, Any], str, Any]] = []
        """Namespaces of modules, a name in each, and the object under that name."""

    def has(self, names: dict[str, Any]) -> bool:
        """Whether this namespace is among those watched."""
        return any(each is names for each, _, _ in self.variables)

    def is_unchanged(self) -> bool:
        """Whether all is as it was."""
        try:
            return self._is_unchanged()
        except (ValueError, RuntimeError):  # a cell was emptied, a container is being changed
            return False

    def _is_unchanged(self) -> bool:
        for names, keys, values in self.variables:
            if not all(map(is_, map(names.get, keys, repeat(MISSING)), values)):
                return False
        for names, absent in self.absent:
            if not names.keys().isdisjoint(absent):
                return False
        for parts_of, obj, parts in self.objects:
            if not all(map(is_, parts_of(obj), parts)):
                return False
        for container, items in self.containers:
            if len(container) != len(items) or not all(map(is_, container, items)):
                return False
        for cell, contents in self.cells:
            if cell.cell_contents is not contents:
                return False
        loaded = sys.modules
        for name, module in self.modules:
            if loaded.get(name) is not module:
                return False
        return all(names.get(name) is obj for names, name, obj in self.found)


@final
class _Looks:
    """Looks through objects for a watch."""

    def __init__(self, scope: Scope, watch: Watch) -> None:
        self._scope = scope
        self._watch = watch
        self._seen: dict[int, Any] = {}
        self._pending: list[Any] = []
        self._modules: set[str] = set()

    def at_namespace(self, namespace: Namespace) -> None:
        """The variables that were defined, and what a heading says."""
        names, taken = namespace.names, namespace.taken
        keys = [*dict.fromkeys([*namespace.needed, *HEADING])]
        values = [taken.get(key, names.get(key, MISSING)) for key in keys]
        self._watch.variables.append((names, keys, values))
        module = sys.modules.get(str(names.get("__name__")))
        if module is not None and vars(module) is names:
            self._note_module(module.__name__, module)
        elif ORIGIN not in names:  # there is no telling when it becomes a module
            raise _Unknown
        self._pending += taken.values()
        path = names.get("__path__")
        if path is not None:
            self._at_container(path)
        parts = getattr(names.get("__spec__"), "submodule_search_locations", None)
        if parts is not None:
            self._at_container(parts)

    def at_all_inside(self) -> None:
        """Look at all objects that are reached from those seen so far."""
        while self._pending:
            obj = self._pending.pop()
            kind = type(obj)
            if kind in _CONSTANT or id(obj) in self._seen:
                continue
            self._seen[id(obj)] = obj
            if len(self._seen) > _MOST_OBJECTS:
                raise _Unknown
            look = _BY_KIND.get(kind)
            if look is not None:
                look(self, obj)
            elif isinstance(obj, IO):
                self._pending += obj._fields()
            elif kind.__module__ == "typing":
                self._at_typing(obj)
            elif not (kind.__module__ == "logging" and kind.__name__ == "Logger"):
                raise _Unknown

    def _at_parts(self, obj: Iterable[Any]) -> None:
        self._pending += obj

    def _at_container(self, container: Any) -> None:
        """A container that may be changed."""
        if type(container) not in (list, dict, set) or len(container) > _MOST_PARTS:
            raise _Unknown
        views: list[Collection[Any]] = [container]
        if container and type(container) is dict:
            views = [container.keys(), container.values()]
        for view in views:
            self._watch.containers.append((view, [*view]))
            self._pending += view

    def _at_module(self, module: ModuleType) -> None:
        name = module.__name__
        if sys.modules.get(name) is not module or not self._scope.travels_by_name(name):
            raise _Unknown
        self._note_module(name, module)

    def _note_module(self, name: str, module: ModuleType) -> None:
        if name not in self._modules:
            self._modules.add(name)
            self._watch.modules.append((name, module))

    def _is_by_name(self, obj: type | FunctionType | BuiltinFunctionType) -> bool:
        """Whether the object is found in a module under its name; that it still is will be
        watched."""
        if not self._scope.by_name(obj, obj.__qualname__):
            return False
        module = sys.modules[obj.__module__]  # which was found there
        if vars(module).get(obj.__qualname__) is not obj:
            raise _Unknown
        self._note_module(obj.__module__, module)
        self._watch.found.append((vars(module), obj.__qualname__, obj))
        return True

    def _at_builtin(self, f: Any) -> None:
        if not self._is_by_name(f):
            raise _Unknown

    def _at_function(self, f: FunctionType) -> None:
        if self._is_by_name(f):
            return
        if f.__globals__ is vars(functools) or getattr(f, "__type_params__", None):
            raise _Unknown
        self._watch.objects.append((_parts_of_function, f, _parts_of_function(f)))
        if is_starter(f):
            self._at_container(vars(f))
            return
        names, facts = f.__globals__, facts_of(f.__code__)
        self._watch.absent.append((names, frozenset(facts.names) - names.keys()))
        self._at_packages(f, facts)
        self._at_words(names, words_in([*text_hints(f), *facts.texts]))
        self._pending += f.__defaults__ or ()
        for container in (f.__kwdefaults__, f.__dict__):
            if container is not None:
                self._at_container(container)
        self._pending.append(getattr(f, _HINTS))
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or ()):
            self._at_cell(cell, is_of_class=name == "__classdict__")

    def _at_packages(self, f: FunctionType, facts: CodeFacts) -> None:
        """A module that is imported later may be reached through one of these packages."""
        for package in packages_of(f, facts):
            parts = vars(package)
            self._watch.absent.append((parts, frozenset(names_in(f.__code__)) - parts.keys()))

    def _at_words(self, names: dict[str, Any], words: Collection[str]) -> None:
        """Words that may be names of variables, of which those were defined that can travel."""
        needed = self._scope.namespace(names).needed if words else {}
        if any(word in names and word not in needed and not is_dunder(word) for word in words):
            raise _Unknown
        self._watch.absent.append((names, frozenset(words) - names.keys()))

    def _at_cell(self, cell: CellType, *, is_of_class: bool) -> None:
        """A variable that a function has captured.

        Args:
            cell: the variable.
            is_of_class: whether its value is the namespace in which a class was made; from 3.14 on,
                what computes the annotations there looks for names in it.
        """
        try:
            contents = cell.cell_contents
        except ValueError:
            raise _Unknown from None
        self._watch.cells.append((cell, contents))
        if is_of_class:
            self._at_attributes(contents)
        else:
            self._pending.append(contents)

    def _at_class(self, cls: type) -> None:
        if cls.__module__ == "builtins" or self._is_by_name(cls):
            return
        self._watch.objects.append((_parts_of_class, cls, _parts_of_class(cls)))
        self._pending += cls.__bases__
        home = self._scope.home_of(cls)
        if home is not None:
            self._at_words(home.names, words_in(text_hints_of_class(cls)))
        self._at_attributes(vars(cls))

    def _at_attributes(self, attributes: Mapping[str, Any]) -> None:
        """The attributes of a class."""
        for view in (attributes.keys(), attributes.values()):
            self._watch.containers.append((view, [*view]))
        for name, value in [*attributes.items()]:
            if name == "__dataclass_fields__":
                self._pending += value.values()
            elif name not in _SET_BY_PYTHON:
                self._pending.append(value)

    def _at_field(self, field: Field[Any]) -> None:
        """A field of a dataclass, which nobody changes once the class is made."""
        self._pending += [field.name, field.type, *field.metadata.values()]
        for default in (field.default, field.default_factory):
            if default is not NO_DEFAULT:
                self._pending.append(default)

    def _at_method(self, method: Any) -> None:
        self._pending += [method.__func__, *vars(method).values()]

    def _at_property(self, obj: property) -> None:
        self._pending += _parts_of_property(obj)

    def _at_descriptor(self, obj: Any) -> None:
        """Pass over a slot: its class makes it."""

    def _at_typing(self, obj: Any) -> None:
        parts = [getattr(obj, name, None) for name in _PARTS_IN_TYPING]
        self._pending += [part for part in parts if part is not None]


_BY_KIND: Final[dict[type, Callable[[_Looks, Any], None]]] = {
    tuple: _Looks._at_parts,
    frozenset: _Looks._at_parts,
    list: _Looks._at_container,
    dict: _Looks._at_container,
    set: _Looks._at_container,
    ModuleType: _Looks._at_module,
    FunctionType: _Looks._at_function,
    BuiltinFunctionType: _Looks._at_builtin,
    type: _Looks._at_class,
    Field: _Looks._at_field,
    classmethod: _Looks._at_method,
    staticmethod: _Looks._at_method,
    property: _Looks._at_property,
    MemberDescriptorType: _Looks._at_descriptor,
    GetSetDescriptorType: _Looks._at_descriptor,
    GenericAlias: _Looks._at_typing,
    UnionType: _Looks._at_typing,
}
