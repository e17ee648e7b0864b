"""Dump and load: which kind of object is reduced in which way.

A dump is written by two picklers that share a `Scope`. The first writes the body, in which what is
found under a name in a script's namespace is only named. The second writes the bundle, which
defines these names. Each of them is asked once for every object that is of no built-in type.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from enum import Enum
from io import BytesIO
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

import cloudpickle

from distio.core.fiber import Handle
from distio.core.pickling import classes, enums, functions
from distio.core.pickling.code import reduce_code
from distio.core.pickling.context_vars import reduce_context_var
from distio.core.pickling.exceptions import ExceptionWriter
from distio.core.pickling.generators import is_generator
from distio.core.pickling.modules import sources_of
from distio.core.pickling.named import NAMED_KINDS, reduce_named
from distio.core.pickling.scope import MISSING, Scope, find
from distio.core.pickling.spaces import (
    Heading,
    ObjectSpace,
    Opened,
    Origin,
    current_space,
    names_at,
    opening,
)
from distio.errors import NotImportable, TracedException

__all__ = ["Bundle", "Dumped", "Pickler", "dump", "load"]

Reduced = Any
"""What `reducer_override` may return: a tuple, or NotImplemented."""
_Reducer = Callable[["Pickler", Any], Reduced]

_INLINE: Final = b"I"
_REFERRED: Final = b"R"
"""How a payload begins that has a bundle; one without begins as pickles do."""
LARGE_BUNDLE: Final = 16 * 1024
"""A bundle of fewer bytes travels with each body that refers to it."""
_DIGEST_BYTES: Final = 16
_LENGTH_BYTES: Final = 8


class Dumped(NamedTuple):
    """What `dump` returns."""

    payload: bytes
    """The body, with its bundle or a reference to it."""
    bundle: bytes
    """What the body refers to, if that is large enough to go its own way, once; else empty."""
    digest: bytes
    """Names the bundle; empty if there is none apart."""
    handles: list[Handle[Any, Any, Any]]
    """They leave with the body: somebody may ask for their outcomes."""
    generators: Sequence[Any] = ()
    """The generators of random numbers of which there are copies in it."""

    def whole(self) -> bytes:
        """A payload that can be opened on its own."""
        if not self.bundle:
            return self.payload
        return _inline(self.bundle, self.payload[1 + _DIGEST_BYTES :])


def _inline(bundle: bytes, body: bytes) -> bytes:
    return b"".join([_INLINE, len(bundle).to_bytes(_LENGTH_BYTES, "big"), bundle, body])


def _digest_of(bundle: bytes) -> bytes:
    return hashlib.blake2b(bundle, digest_size=_DIGEST_BYTES).digest()


# -- from objects to bytes --------------------------------------------------------------------


def dump(obj: Any, *, is_strict: bool = False, is_trial: bool = False) -> Dumped:
    """Pickle an object, with whatever of scripts it needs.

    Args:
        obj: which.
        is_strict: whether to fail for an exception that would arrive as a `ForeignException`.
        is_trial: whether all that counts is whether it can be done.

    Raises:
        Exception: something in it can't be pickled.
    """
    scope = Scope(current_space(), is_strict=is_strict, is_trial=is_trial)
    file = BytesIO()
    Pickler(file, scope, defines=False).dump(obj)
    body, bundle = file.getvalue(), _bundle(scope)
    leaving = scope.handles, scope.generators.copied
    if not bundle:
        return Dumped(body, b"", b"", *leaving)
    if len(bundle) < LARGE_BUNDLE:
        return Dumped(_inline(bundle, body), b"", b"", *leaving)
    digest = _digest_of(bundle)
    return Dumped(b"".join([_REFERRED, digest, body]), bundle, digest, *leaving)


def _bundle(scope: Scope) -> bytes:
    if not (scope.namespaces or scope.modules or scope.defines_classes):
        return b""
    file = BytesIO()
    pickler = Pickler(file, scope, defines=True)
    while fresh := {space.index: names for space in scope.namespaces if (names := space.take())}:
        pickler.dump(fresh)
    definitions = file.getvalue()
    generation = _generation_of(scope, definitions)
    headings = [namespace.heading(generation) for namespace in scope.namespaces]
    space = scope.space
    sources = sources_of(scope.modules, space.reach, space.sources.came) if scope.modules else []
    if not (sources or headings or scope.defines_classes):
        return b""
    return pickle.dumps((sources, headings), pickle.HIGHEST_PROTOCOL) + definitions


def _generation_of(scope: Scope, definitions: bytes) -> int:
    """The number of the generation to which the variables of a bundle belong, as they are now."""
    generations = scope.space.generations
    digest = _digest_of(definitions)
    if scope.is_trial or generations.has(digest):
        return generations.number
    digests = {
        key: _digest_of(_definition(scope.space, value))
        for namespace in scope.namespaces
        for key, value in namespace.defined().items()
    }
    with scope.space.lock:
        generations.note(digest, digests)
        return generations.number


def _definition(space: ObjectSpace, value: Any) -> bytes:
    """The pickle of one variable, without those that it names."""
    file = BytesIO()
    Pickler(file, Scope(space, is_trial=True), defines=True).dump(value)
    return file.getvalue()


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Knows how fibers, functions, classes and modules travel."""

    def __init__(self, file: BytesIO, scope: Scope, *, defines: bool) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.scope = scope
        self.defines = defines
        """Whether what has a name in a script's namespace is defined here, or only named."""
        self.cells: dict[int, CellType] = {}
        """Cells of functions: what is in them is set with the state of the function."""
        self._reducers: dict[type, _Reducer] = dict(_BY_KIND)
        self._is_self_contained: dict[tuple[int, int], bool] = {}
        """By code and globals, which live as long as what is pickled."""
        self._exceptions: ExceptionWriter | None = None

    def reducer_override(self, obj: Any) -> Reduced:
        """As pickle asks for each object that is of no built-in type."""
        kind = type(obj)
        reduce = self._reducers.get(kind)
        if reduce is None:
            reduce = self._reducers[kind] = _reducer_for(kind)
        return reduce(self, obj)

    def can_travel(self, value: Any) -> bool:
        """Whether something can be pickled that nobody may need; it is tried."""
        if self.scope.is_trial:
            return False
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
                return _find, (namespace.index, dotted)
        return None

    # -- functions ------------------------------------------------------------------------

    def reduce_function(self, f: FunctionType) -> Reduced:
        if "<" not in f.__qualname__:
            if self.scope.by_name(f, f.__qualname__):
                return NotImplemented
        elif (reduced := self._reduce_self_contained(f)) is not None:
            return reduced
        by_name = None if self.defines else self._named_in([f.__globals__], f, f.__qualname__)
        return by_name or functions.reduce_by_value(self, f)

    def _reduce_self_contained(self, f: FunctionType) -> Reduced | None:
        key = id(f.__code__), id(f.__globals__)
        is_simple = self._is_self_contained.get(key)
        if is_simple is None:
            is_simple = self._is_self_contained[key] = functions.is_self_contained(f)
        return functions.reduce_self_contained(f) if is_simple else None

    def reduce_code(self, code: CodeType) -> Reduced:
        return reduce_code(code) or NotImplemented

    def reduce_cell(self, cell: CellType) -> Reduced:
        return (functions.empty_cell, ()) if id(cell) in self.cells else NotImplemented

    # -- classes and modules --------------------------------------------------------------

    def reduce_class(self, cls: type) -> Reduced:
        if cls.__module__ == "builtins":
            return super().reducer_override(cls)
        if self.scope.by_name(cls, cls.__qualname__):
            return NotImplemented
        return self.named(cls, cls.__qualname__) or classes.reduce_by_value(self, cls)

    def reduce_module(self, module: ModuleType) -> Reduced:
        name = module.__name__
        if sys.modules.get(name) is module and self.scope.travels_by_name(name):
            return _import, (name, self.scope.user_of(module))
        namespace = self.scope.namespace(vars(module))
        namespace.need_definitions()
        return _module, (namespace.index, name)

    # -- all others -----------------------------------------------------------------------

    def reduce_member(self, member: Enum) -> Reduced:
        kind = type(member)
        if self.scope.by_name(kind, kind.__qualname__):
            return NotImplemented
        return enums.reduce_member(member)

    def reduce_variable(self, variable: ContextVar[Any]) -> Reduced:
        return reduce_context_var(variable)

    def reduce_handle(self, handle: Handle[Any, Any, Any]) -> Reduced:
        self.scope.handles.append(handle)
        return NotImplemented

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
        own = type(obj).__module__
        for module in [own] if own != "builtins" else list(sys.modules):
            for names in self.scope.space.all_names_of(module):
                name = next((name for name, value in list(names.items()) if value is obj), None)
                if name is None:
                    continue
                if self.scope.travels_by_name(module):
                    return _attribute, (module, name)
                by_name = None if self.defines else self._named_in([names], obj, name)
                return by_name or NotImplemented
        return NotImplemented

    def reduce_instance(self, obj: Any) -> Reduced:
        """An object that is reduced as Python does it by itself, unless it is a sentinel."""
        if not vars(obj):
            return self.reduce_sentinel(obj)
        return NotImplemented

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
            return reduced
        module = getattr(obj, "__module__", None)
        if not isinstance(module, str) or self.scope.by_name(obj, reduced):
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


def _reduce_cached_property(pickler: Pickler, made: Any) -> Reduced:
    state = {name: value for name, value in vars(made).items() if name != "lock"}
    return _make_cached_property, (made.func,), state


def _make_cached_property(f: Any) -> Any:
    return functools.cached_property(f)


_BY_KIND: Final[dict[type, _Reducer]] = {
    FunctionType: Pickler.reduce_function,
    CodeType: Pickler.reduce_code,
    CellType: Pickler.reduce_cell,
    ModuleType: Pickler.reduce_module,
    MethodType: Pickler.reduce_method,
    BuiltinMethodType: Pickler.reduce_method,
    Handle: Pickler.reduce_handle,
    ContextVar: Pickler.reduce_variable,
    TracedException: Pickler.reduce_traced,
    object: Pickler.reduce_sentinel,
    functools.cached_property: _reduce_cached_property,
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
    if kind in cloudpickle.Pickler.dispatch_table and kind not in NAMED_KINDS:
        return _as_pickle_does  # or as somebody has registered with copyreg
    is_custom = kind.__reduce_ex__ is not object.__reduce_ex__
    if is_custom or kind.__reduce__ is not object.__reduce__:
        return Pickler.reduce_custom
    has_no_slots = kind.__dictoffset__ and kind.__basicsize__ <= _BARE.__basicsize__
    return Pickler.reduce_instance if has_no_slots else _as_pickle_does


class _Bare:
    """An object of a class without slots has the size of its objects."""


_BARE: Final = _Bare


# -- from bytes to objects --------------------------------------------------------------------


def load(payload: bytes, bundles: dict[bytes, Bundle] | None = None) -> Any:
    """Make again what was dumped.

    Args:
        payload: whole, or referring to one of `bundles`.
        bundles: those that came before, by digest; what is opened with one of them shares it, and
            a new one is added. None: nobody shares it.

    Raises:
        NotImportable: a module is needed that isn't to be had here.
        Exception: whatever unpickling user data may raise.
    """
    if payload[:1] == pickle.PROTO:
        return _load_alone(payload)
    space = current_space()
    kind, start = payload[:1], 1
    if kind == _INLINE:
        start += _LENGTH_BYTES
        end = start + int.from_bytes(payload[1:start], "big")
        bundle = Bundle(payload[start:end])
        if bundles is None:
            opened = bundle.open_once(space)
        else:
            opened = bundles.setdefault(_digest_of(bundle.payload), bundle).open(space)
        start = end
    elif kind == _REFERRED:
        start += _DIGEST_BYTES
        assert bundles is not None
        opened = bundles[payload[1:start]].open(space)
    else:
        raise pickle.UnpicklingError("the bytes don't come from `dump`")
    with opening(opened):
        return _Unpickler(BytesIO(payload[start:])).load()


def _load_alone(body: bytes) -> Any:
    """The same for a body that refers to no bundle; by far the most frequent, and quick."""
    try:
        return pickle.loads(body)
    except (ImportError, AttributeError):
        return _Unpickler(BytesIO(body)).load()  # which says what is missing


class Bundle:
    """A bundle that came, opened by the first who needs it; the others share what that made."""

    __slots__ = ("_opened", "_space", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        """Empty once it is opened."""
        self._opened: Opened | None = None
        self._space: ObjectSpace | None = None

    def open(self, space: ObjectSpace) -> Opened:
        """The namespaces that it defines."""
        with space.lock:
            if self._opened is None:
                self._opened = _fill(space, self.payload)
                self.payload = b""
                self._space = space
                space.keep(self._opened)
            return self._opened

    def open_once(self, space: ObjectSpace) -> Opened:
        """The same, for a bundle that nobody keeps."""
        with space.lock:
            return _fill(space, self.payload)

    def release(self) -> None:
        """Nobody opens anything with it any more: free what nobody uses."""
        opened, self._opened = self._opened, None
        if opened is not None and self._space is not None:
            self._space.release(opened)


def _fill(space: ObjectSpace, bundle: bytes) -> Opened:
    file = BytesIO(bundle)
    sources, headings = pickle.load(file)
    space.sources.add(sources)
    opened = space.begin([Heading(Origin(*origin), *rest) for origin, *rest in headings])
    if not opened.is_home:
        with opening(opened):
            unpickler = _Unpickler(file)
            while file.tell() < len(bundle):
                for index, names in unpickler.load().items():
                    opened.define(index, names)
        space.show(opened)
    return opened


class _Unpickler(pickle.Unpickler):
    """Says which module is missing here, and what is to be done."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise _missing(module, f"in which {name} is defined", error) from None


def _missing(module: str, why: str, error: Exception) -> NotImportable:
    return NotImportable(
        f"{current_space().process} can't import the module {module!r}, {why} "
        f"({type(error).__name__}: {error}); install it where the workers are, or define what is "
        f"needed of it in the script itself, which travels by value"
    )


def _import(name: str, user: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name, f"which {user or 'a fiber'} uses", error) from None


def _attribute(module: str, name: str) -> Any:
    try:
        return getattr(_import(module, ""), name)
    except AttributeError as error:
        raise _missing(module, f"in which {name} is defined", error) from None


def _module(index: int, name: str) -> ModuleType:
    """A module that travels by value, for what refers to the module itself."""
    names = names_at(index)
    known = sys.modules.get(name)
    if known is not None and vars(known) is names:
        return known
    return _View(name, names)


class _View(ModuleType):
    """A module whose attributes are the variables of a namespace."""

    def __init__(self, name: str, names: dict[str, Any]) -> None:
        super().__init__(name)
        self.__names = names

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__names[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def _find(index: int, dotted: str) -> Any:
    found = find(names_at(index), dotted)
    if found is MISSING:
        names = names_at(index)
        raise NotImportable(f"{names.get('__name__')} has no {dotted} any more in this process")
    return found
