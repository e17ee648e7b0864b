"""Which kind of object is reduced in which way.

A pickler is asked once for every object that is of no built-in type. How kinds of objects are
reduced that need more than a few lines is told in the modules named after them.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from enum import Enum
from io import BytesIO
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

import cloudpickle

from distio.core.fiber import Handle
from distio.core.ops.direct import is_starter, starter
from distio.core.pickling import classes, enums, functions
from distio.core.pickling.c_types import is_c_type, reduce_c_type
from distio.core.pickling.code import CodeFacts, facts_of, reduce_code
from distio.core.pickling.context_vars import reduce_context_var
from distio.core.pickling.exceptions import ExceptionWriter
from distio.core.pickling.finding import find_attribute, find_here, find_module, view_of
from distio.core.pickling.generators import is_generator
from distio.core.pickling.instances import (
    has_own_constructor,
    is_made_so,
    past_constructor,
    with_attributes,
)
from distio.core.pickling.named import NAMED_KINDS, reduce_named
from distio.core.pickling.once import Once
from distio.core.pickling.payloads import Writer
from distio.core.pickling.plain import PLAIN
from distio.core.pickling.scope import Scope, find
from distio.core.pickling.shared_code import shared
from distio.core.pickling.standard import STANDARD, reducer_of_standard
from distio.core.references import Reference, reduce_handle, reduce_reference
from distio.errors import TracedException
from distio.protocol.requests import Lock, PrimitiveRef

__all__ = ["Pickler"]

Reduced = Any
"""The result of `reducer_override`: a tuple, or NotImplemented."""
_Reducer = Callable[["Pickler", Any], Reduced]


class _Known(NamedTuple):
    """The facts that functions of one code object and one namespace share in one pickle."""

    names: dict[str, Any]
    facts: CodeFacts
    code: CodeType | bytes
    """The code, or its digest."""
    is_free: bool
    """Whether the function reads nothing of the namespace."""


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Knows how fibers, functions, classes and modules travel."""

    def __init__(self, file: BytesIO | Writer, scope: Scope, *, defines: bool) -> None:
        take_buffer = file.take_buffer if isinstance(file, Writer) else None
        super().__init__(file, pickle.HIGHEST_PROTOCOL, take_buffer)
        self.file = file
        self.scope = scope
        self.defines = defines
        """Whether what has a name in a script's namespace is defined here, or only named."""
        self.cells: dict[int, tuple[CellType, Reduced]] = {}
        """Cells of functions, and how pickle makes them again: those whose contents are set with
        the state of the function are empty at first."""
        self._apart = None if defines else scope.apart
        self._known: dict[int, _Known] = {}
        """By the identity of code, which lives as long as what is pickled."""
        self._reducers: dict[type, _Reducer] = {}
        """The reducers of user classes that were asked for: a class may be changed later."""
        self._made_so: dict[tuple[type, int], bool] = {}
        """By class and number of arguments: whether its constructor is called as pickle does it."""
        self._exceptions: ExceptionWriter | None = None

    def reducer_override(self, obj: Any) -> Reduced:
        """Reduce an object that is of no built-in type, for pickle."""
        kind = type(obj)
        if kind is FunctionType:  # by far the most frequent
            return self.reduce_function(obj)
        reduce = _BY_KIND.get(kind) or self._reducers.get(kind)
        if reduce is None:
            known = _BY_KIND if str(kind.__module__).startswith(_OURS) else self._reducers
            reduce = known[kind] = _reducer_for(kind)
        return reduce(self, obj)

    def can_travel(self, value: Any) -> bool:
        """Whether something can be pickled that nobody may need; it is tried."""
        from distio.core.pickling.dumping import dump  # which asks for this module

        if self.scope.is_trial:
            return False
        if type(value) in PLAIN:
            return True
        if isinstance(value, type | FunctionType) and self.scope.by_name(value, value.__qualname__):
            return True
        try:
            dump(value, is_trial=True)
        except Exception:  # noqa: BLE001 (then it is left out)
            return False
        return True

    def named(self, obj: Any, dotted: str) -> Reduced | None:
        """A mere reference to what is found under this name in the object's module.

        None if something else is found there, or what is found is to be defined.
        """
        module = getattr(obj, "__module__", None)
        if self.defines or not isinstance(module, str):
            return None
        return self._named_in(self.scope.space.all_names_of(module), obj, dotted)

    def _named_in(
        self, candidates: Iterable[dict[str, Any]], obj: Any, dotted: str
    ) -> Reduced | None:
        for names in candidates:
            if find(names, dotted) is obj:
                namespace = self.scope.namespace(names)
                namespace.need(dotted.partition(".")[0])
                return find_here, (namespace.index, dotted)
        return None

    # -- functions ------------------------------------------------------------------------

    def reduce_function(self, f: FunctionType) -> Reduced:
        if id(f) in _FOUND:
            return NotImplemented
        if "<" not in f.__qualname__:  # it may be found under its name
            if self.scope.by_name(f, f.__qualname__):
                self._note_found(f)
                return NotImplemented
            by_name = None if self.defines else self._named_in([f.__globals__], f, f.__qualname__)
            if by_name is not None:
                return by_name
        if is_starter(f):
            return self.named(f, f.__qualname__) or (starter, (vars(f)["__wrapped__"],))
        known = self._known.get(id(f.__code__))
        if known is None or known.names is not f.__globals__:
            known = self._get_to_know(f)
        reduced = None
        if known.is_free and "<" in f.__qualname__ and functions.is_bare(f, known.facts):
            reduced = functions.reduce_self_contained(f, known.facts, known.code)
        return reduced or functions.reduce_by_value(self, f, known.facts, known.code)

    def _get_to_know(self, f: FunctionType) -> _Known:
        code, names = f.__code__, f.__globals__
        facts = facts_of(code)
        if facts.imports:
            self.scope.note_imports(facts.imports, names.get("__package__"))
        known = _Known(names, facts, self._kept_apart(code), functions.is_free(facts, names))
        self._known[id(code)] = known
        return known

    def _kept_apart(self, code: CodeType) -> CodeType | bytes:
        """The digest of code whose bytes are to lie apart; otherwise the code."""
        if self._apart is None:
            return code
        known = shared(code)
        if known is None:
            return code
        self._apart[known.digest] = known.payload
        return known.digest

    def _note_found(self, obj: type | FunctionType) -> None:
        if obj.__module__.startswith(_OURS):
            _FOUND.add(id(obj))
        else:
            self.scope.note_code(obj)

    def reduce_code(self, code: CodeType) -> Reduced:
        return reduce_code(code) or NotImplemented

    def reduce_cell(self, cell: CellType) -> Reduced:
        known = self.cells.get(id(cell))
        return NotImplemented if known is None else known[1]

    # -- classes and modules --------------------------------------------------------------

    def reduce_class(self, cls: type) -> Reduced:
        if id(cls) in _FOUND:
            return NotImplemented
        if cls.__module__ == "builtins":
            return super().reducer_override(cls)
        if is_c_type(type(cls)) and (reduced := reduce_c_type(cls)) is not None:
            return reduced
        if self.scope.by_name(cls, cls.__qualname__):
            self._note_found(cls)
            return NotImplemented
        return self.named(cls, cls.__qualname__) or classes.reduce_by_value(self, cls)

    def reduce_module(self, module: ModuleType) -> Reduced:
        name = module.__name__
        if sys.modules.get(name) is module and self.scope.travels_by_name(name):
            return find_module, (name, self.scope.user_of(module))
        namespace = self.scope.namespace(vars(module))
        namespace.need_definitions()
        return view_of, (namespace.index, name)

    # -- all others -----------------------------------------------------------------------

    def reduce_member(self, member: Enum) -> Reduced:
        kind = type(member)
        if self.scope.by_name(kind, kind.__qualname__):
            self.scope.note_code(kind)
            return NotImplemented
        return enums.reduce_member(member)

    def reduce_variable(self, variable: ContextVar[Any]) -> Reduced:
        return reduce_context_var(variable)

    def reduce_handle(self, handle: Handle[Any, Any, Any]) -> Reduced:
        self.scope.handles.append(handle)
        return reduce_handle(handle)

    def reduce_reference(self, reference: Reference) -> Reduced:
        """A reference to a queue, a variable, …: whoever sends the pickle sees to its claim."""
        self.scope.references.append(reference)
        return reduce_reference(reference)

    def reduce_once(self, once: Once) -> Reduced:
        """An object that was pickled already."""
        if isinstance(self.file, Writer):
            self.file.size += once.size
        return once.reduce(self._apart, self.scope.code)

    def reduce_traced(self, traced: TracedException) -> Reduced:
        """An exception in a panic: its text will do if it can't travel."""
        self._exception_writer().allow_replacement(traced.exception)
        return NotImplemented

    def reduce_exception(self, exception: BaseException) -> Reduced:
        return self._exception_writer().reduce(exception)

    def _exception_writer(self) -> ExceptionWriter:
        if self._exceptions is None:
            is_strict = self.scope.is_strict
            self._exceptions = ExceptionWriter(self._dump_part, is_strict=is_strict)
        return self._exceptions

    def _dump_part(self, obj: Any, reference: Callable[[Any], int | None]) -> bytes:
        file = BytesIO()
        _PartPickler(file, self.scope, reference, defines=self.defines).dump(obj)
        return file.getvalue()

    def reduce_sentinel(self, obj: Any) -> Reduced:
        """An object without any state: what counts is which one it is."""
        own = str(type(obj).__module__)
        for module in [own] if own != "builtins" else list(sys.modules):
            for names in self.scope.space.all_names_of(module):
                name = next((name for name, value in list(names.items()) if value is obj), None)
                if name is None:
                    continue
                if self.scope.travels_by_name(module):
                    return find_attribute, (module, name)
                by_name = None if self.defines else self._named_in([names], obj, name)
                return by_name or NotImplemented
        return NotImplemented

    def reduce_instance(self, obj: Any) -> Reduced:
        """An object that is reduced as Python does it by itself, unless it is a sentinel."""
        if not vars(obj):
            return self.reduce_sentinel(obj)
        return NotImplemented

    def reduce_constructed(self, obj: Any) -> Reduced:
        """An object of a class with a constructor of its own, unless it is a sentinel."""
        reduced = self.reduce_instance(obj)
        return self.reduce_custom(obj) if reduced is NotImplemented else reduced

    def reduce_method(self, method: Any) -> Reduced:
        """A method of an instance that its module hides is found by name."""
        return self.scope.generators.reduce(method, type(method)) or NotImplemented

    def reduce_generator(self, generator: Any) -> Reduced:
        """A generator of random numbers is noted if it is copied."""
        reduced = self.scope.generators.reduce(generator, type(generator))
        return reduced or self.reduce_custom(generator)

    def reduce_custom(self, obj: Any) -> Reduced:
        """An object that says itself how it is pickled."""
        reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if not isinstance(reduced, str):
            kind = type(obj)
            key = kind, len(reduced[1])
            is_so = self._made_so.get(key)
            if is_so is None:
                is_so = self._made_so[key] = is_made_so(kind, reduced)
            return with_attributes(obj, reduced if is_so else past_constructor(obj, reduced))
        module = getattr(obj, "__module__", None)
        if not isinstance(module, str):
            return reduced
        if self.scope.by_name(obj, reduced):
            self.scope.note_code(obj)
            return reduced
        return self.named(obj, reduced) or reduce_named(obj) or reduced


class _PartPickler(Pickler):
    """Pickles a part of an exception, which names other exceptions by their numbers."""

    def __init__(
        self,
        file: BytesIO,
        scope: Scope,
        reference: Callable[[Any], int | None],
        *,
        defines: bool,
    ) -> None:
        self._reference = reference
        super().__init__(file, scope, defines=defines)

    def persistent_id(self, obj: Any) -> int | None:
        return self._reference(obj)


def _as_pickle_does(pickler: Pickler, obj: Any) -> Reduced:
    return NotImplemented


def _as_it_says(pickler: Pickler, obj: Any) -> Reduced:
    return obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)  # pickle would look for a reducer before


def _as_standard(pickler: Pickler, obj: Any) -> Reduced:
    return STANDARD[type(obj)](obj)


_OURS: Final = "distio."
"""How the names of distio's modules begin."""
_FOUND: Final[set[int]] = set()
"""Classes and functions of distio that are found by their names, as they always will be."""


_LIBRARIES: Final = ("asyncio.", "anyio.", "trio")
_LOOP_BOUND: Final = (
    "asyncio.",
    "anyio._backends.",
    "anyio._core._synchronization.",
    "anyio.streams.",
    "trio.Event",
    "trio._channel.",
    "trio._core.",
    "trio._sync.",
)
"""How the names of classes begin whose objects wake tasks of one event loop."""


def _refuse(pickler: Pickler, obj: Any) -> Reduced:
    """A copy would be of another loop: nobody here could wake what waits for it there."""
    kind = type(obj).__qualname__
    raise TypeError(f"an object of type {kind} belongs to one event loop, and can't leave it")


_BY_KIND: Final[dict[type, _Reducer]] = {
    type: Pickler.reduce_class,
    FunctionType: Pickler.reduce_function,
    CodeType: Pickler.reduce_code,
    CellType: Pickler.reduce_cell,
    ModuleType: Pickler.reduce_module,
    MethodType: Pickler.reduce_method,
    BuiltinMethodType: Pickler.reduce_method,
    Handle: Pickler.reduce_handle,
    Once: Pickler.reduce_once,
    Lock: Pickler.reduce_reference,
    PrimitiveRef: Pickler.reduce_reference,
    ContextVar: Pickler.reduce_variable,
    TracedException: Pickler.reduce_traced,
    object: Pickler.reduce_sentinel,
    **dict.fromkeys(STANDARD, _as_standard),
}


def _reducer_for(kind: type) -> _Reducer:
    """How objects of a class are reduced that isn't listed."""
    if issubclass(kind, type):
        return Pickler.reduce_class
    if issubclass(kind, Enum):
        return Pickler.reduce_member
    if issubclass(kind, BaseException):
        return Pickler.reduce_exception
    if issubclass(kind, ModuleType):
        return Pickler.reduce_module
    if is_generator(kind):
        return Pickler.reduce_generator
    if _is_loop_bound(kind):
        return _refuse
    if (standard := reducer_of_standard(kind)) is not None:
        return lambda _, obj: standard(obj)
    if _is_registered(kind) and kind not in NAMED_KINDS:
        return _as_pickle_does
    is_custom = kind.__reduce_ex__ is not object.__reduce_ex__
    if is_custom or kind.__reduce__ is not object.__reduce__:
        is_ours = str(kind.__module__).startswith(_OURS)
        return _as_it_says if is_ours else Pickler.reduce_custom
    is_constructed = has_own_constructor(kind)
    if kind.__dictoffset__ and kind.__basicsize__ <= _BARE.__basicsize__:  # it has no slots
        return Pickler.reduce_constructed if is_constructed else Pickler.reduce_instance
    return Pickler.reduce_custom if is_constructed else _as_pickle_does


def _is_loop_bound(kind: type) -> bool:
    for base in kind.__mro__:
        module = str(base.__module__)
        is_near = module.startswith(_LIBRARIES)  # quick
        if is_near and f"{module}.{base.__qualname__}".startswith(_LOOP_BOUND):
            return True
    return False


def _is_registered(kind: type) -> bool:
    """Whether cloudpickle has a reducer for a class, or somebody has given one to copyreg."""
    for table in cloudpickle.Pickler.dispatch_table.maps:  # noqa: SIM110 (twice as fast)
        if kind in table:
            return True
    return False


class _Bare:
    """An object of a class without slots has the size of its objects."""


_BARE: Final = _Bare
