"""Objects of the standard library that Python can't pickle, though others like them can be made."""

from __future__ import annotations

import functools
import inspect
import struct
import sys
import weakref
from collections.abc import Callable
from threading import local  # noqa: TID251 (such objects travel; no thread is started)
from typing import Any, Final

from distio.core.numpy_errors import is_error_state, make_error_state, state_of
from distio.core.pickling.finding import find_attribute

__all__ = ["STANDARD", "UNCHANGING", "reducer_of_standard"]

Reduced = tuple[Any, ...]


def _cached_property(made: Any) -> Reduced:
    state = {name: value for name, value in vars(made).items() if name != "lock"}
    return functools.cached_property, (made.func,), state


def _dispatch_method(made: Any) -> Reduced:
    # some versions of Python keep a cache of weak references in it
    return functools.singledispatchmethod, (made.func,), {"dispatcher": made.dispatcher}


def _struct(made: struct.Struct) -> Reduced:
    return struct.Struct, (made.format,)


def _weak(made: Any) -> Reduced:
    return type(made), (dict(made),)  # nothing there keeps what nothing else has


def _weak_reference(made: Any) -> Reduced:
    return _make_weak_reference, (type(made), made())


def _make_weak_reference(kind: Any, to: Any) -> Any:
    return kind(_Gone() if to is None else to)


class _Gone:
    """The object of a weak reference that has none any more."""


def _of_system(name: str) -> Callable[[Any], Reduced]:
    return lambda _: (find_attribute, ("sys", name))


def _is_thread_local(kind: type) -> bool:
    """Whether objects of a class have attributes of their own for each thread."""
    return issubclass(kind, local)


def _reduce_thread_local(made: Any) -> Reduced:
    """An object that is empty for other threads is empty elsewhere, too: it is made anew.

    Raises:
        TypeError: that takes arguments, which nobody has kept.
    """
    kind = type(made)
    if kind is not local:
        inspect.signature(kind).bind()
    return kind, ()


def _is_proxy(kind: type) -> bool:
    """Whether objects of a class stand for those of a server: a manager of multiprocessing."""
    managers = sys.modules.get("multiprocessing.managers")
    return managers is not None and issubclass(kind, managers.BaseProxy)


def _reduce_proxy(proxy: Any) -> Reduced:
    """A proxy knows the key of its server where it arrives, as in a child of this process."""
    reduced: Reduced = proxy.__reduce__()
    make, arguments = reduced[:2]
    if len(reduced) != 2 or len(arguments) != 4 or proxy._authkey is None:
        return reduced  # a class of the user's own
    f, token, serializer, options = arguments
    return make, (f, token, serializer, {**options, "authkey": bytes(proxy._authkey)})


def _is_connection(kind: type) -> bool:
    """Whether objects of a class are ends of a pipe of multiprocessing."""
    connection = sys.modules.get("multiprocessing.connection")
    return connection is not None and issubclass(kind, connection._ConnectionBase)


def _refuse_connection(obj: Any) -> Reduced:
    """Pickle would copy the number of the descriptor, which means something else elsewhere.

    Raises:
        TypeError: always.
    """
    raise TypeError(
        f"an object of type {type(obj).__qualname__} belongs to its process and the children of "
        f"that; use a queue of multiprocessing.Manager(), or of distio"
    )


def reducer_of_standard(kind: type) -> Callable[[Any], Reduced] | None:
    """How objects of a class of the standard library are reduced, or of one derived from it."""
    return next((reduce for has, reduce in _BY_BASE if has(kind)), None)


STANDARD: Final[dict[type, Callable[[Any], Reduced]]] = {
    functools.cached_property: _cached_property,
    functools.singledispatchmethod: _dispatch_method,
    local: _reduce_thread_local,
    struct.Struct: _struct,
    weakref.ref: _weak_reference,
    weakref.WeakMethod: _weak_reference,
    weakref.WeakKeyDictionary: _weak,
    weakref.WeakValueDictionary: _weak,
    type(sys.flags): _of_system("flags"),
    type(sys.version_info): _of_system("version_info"),
}
"""How objects of these types are made again from their parts."""
UNCHANGING: Final = frozenset({local, struct.Struct, type(sys.flags), type(sys.version_info)})
"""Types among them whose objects are made again in the same way each time."""


def _is_capsule(kind: type) -> bool:
    """Whether objects of a class are known to a library in C alone."""
    return kind.__name__ == "PyCapsule" and kind.__module__ in ("builtins", "types")


def _reduce_capsule(capsule: Any) -> Reduced:
    if not is_error_state(capsule):
        raise TypeError("cannot pickle 'PyCapsule' object")
    return make_error_state, (state_of(capsule),)


_BY_BASE: Final = (
    (_is_capsule, _reduce_capsule),
    (_is_thread_local, _reduce_thread_local),
    (_is_proxy, _reduce_proxy),
    (_is_connection, _refuse_connection),
)
