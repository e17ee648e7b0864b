"""Objects whose class has a constructor of its own, which can't be called as pickle would call it.

Pickle makes a tuple by `cls.__new__(cls, items)`, and a set by `cls(items)`, whatever arguments the
constructor of a subclass takes. So an object may fail to arrive, or arrive as another one. Such
objects are made by the constructor of the base that has said how they are pickled; their attributes
travel as those of other objects do.
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Sequence
from inspect import CO_VARARGS
from types import FunctionType
from typing import Any, Final, TypeGuard

from distio.core.pickling.modules import is_everywhere

__all__ = ["has_own_constructor", "is_made_so", "past_constructor", "with_attributes"]

Reduced = tuple[Any, ...]
_NEW_OBJECT: Final = copyreg.__newobj__  # type: ignore[attr-defined]  # typeshed lacks it
_WITH_ITEMS: Final = 5
"""The number of parts in how pickle makes an object, up to those of a container."""


def has_own_constructor(kind: type) -> bool:
    """Whether objects may not be made as pickle does it by itself: by `__new__` with a value."""
    own_arguments = getattr(kind, "__getnewargs__", None)  # those of built-in bases are values
    says_itself = hasattr(kind, "__getnewargs_ex__") or _is_of_user(own_arguments)
    if says_itself or not _is_of_user(kind.__new__):
        return False
    is_bare = _base_with(kind, "__new__", is_built_in=True) is object
    if is_bare or _is_installed(kind):
        return not _takes(kind.__new__, (kind,) if is_bare else (kind, None))
    return True


def is_made_so(kind: type, reduced: Reduced) -> bool:
    """Whether pickle makes an object of a class again in this way.

    It is the same for all objects of the class that are made of as many arguments.

    Args:
        kind: the class of the object.
        reduced: how pickle would make it.
    """
    make, arguments = reduced[:2]
    if make is _NEW_OBJECT:
        return arguments[0] is not kind or not has_own_constructor(kind)
    return make is not kind or _is_called_so(kind, arguments)


def past_constructor(obj: Any, reduced: Reduced) -> Reduced:
    """How pickle makes an object again without the constructor of its class.

    Args:
        obj: the object.
        reduced: how pickle would make it, which fails, or makes another one.
    """
    kind = type(obj)
    make, arguments, *state = reduced
    if make is _NEW_OBJECT:
        base = _base_with(kind, "__new__", is_built_in=True)
        return _make, (base, False, *arguments), *state
    if not state and getattr(obj, "__dict__", None):
        state = [vars(obj)]  # the constructor would have set it
    return _make, (_base_that_reduces(kind), True, kind, *arguments), *state


def with_attributes(obj: Any, reduced: Reduced) -> Reduced:
    """How pickle makes an object again, with attributes that a subclass has added to it.

    Classes in C that say how their objects are pickled may not know of these.

    Args:
        obj: the object.
        reduced: how pickle would make it.
    """
    attributes = getattr(obj, "__dict__", None)
    if not attributes or len(reduced) > _WITH_ITEMS or not _may_lose_attributes(type(obj)):
        return reduced
    make, arguments, state, *items = (*reduced, None, None, None)[:_WITH_ITEMS]
    parts = state if isinstance(state, tuple) else (state,)
    has_them = any(isinstance(part, dict) and part.keys() >= attributes.keys() for part in parts)
    if has_them or (state is not None and not hasattr(type(obj), "__setstate__")):
        return reduced
    return make, arguments, (state, attributes), *items, _set_state


def _may_lose_attributes(kind: type) -> bool:
    if _is_installed(kind):
        return False
    base = _base_that_reduces(kind)
    if base is object or base is kind or _is_of_user(getattr(kind, "__getstate__", None)):
        return False
    return _is_reduced_in_c(base)


def _is_reduced_in_c(base: type) -> bool:
    return not (_is_of_user(base.__reduce__) or _is_of_user(base.__reduce_ex__))


def _set_state(obj: Any, both: tuple[Any, dict[str, Any]]) -> None:
    state, attributes = both
    if state is not None:
        obj.__setstate__(state)
    obj.__dict__.update(attributes)


def _is_called_so(kind: type, arguments: Sequence[Any]) -> bool:
    """Whether the constructor of a class does what the base that reduces its objects expects."""
    base: Any = _base_that_reduces(kind)
    if base is kind:
        return True
    is_built_in = _is_reduced_in_c(base) and not _is_installed(kind)
    new: Any = kind.__new__
    is_overridden = _is_of_user(new) and new is not base.__new__
    if is_overridden and (is_built_in or not _takes(new, (kind, *arguments))):
        return False
    init: Any = getattr(kind, "__init__")  # noqa: B009 (type checkers take it for unsound)
    if not _is_of_user(init) or init is base.__init__:
        return True
    return _takes(init, (None, *arguments), is_collecting=not is_built_in)


def _takes(f: FunctionType, arguments: Sequence[Any], *, is_collecting: bool = True) -> bool:
    """Whether a function has a parameter for each of some arguments.

    Args:
        f: the function.
        arguments: those.
        is_collecting: whether a parameter like `*args` counts, too.
    """
    if vars(f):  # it may be decorated, and so take what another function does
        return _takes_by_signature(f, arguments, is_collecting=is_collecting)
    code, count = f.__code__, len(arguments)  # a signature takes thirty times as long
    defaults, named = f.__defaults__ or (), f.__kwdefaults__ or ()
    if len(named) < code.co_kwonlyargcount or count < code.co_argcount - len(defaults):
        return False
    return count <= code.co_argcount or (is_collecting and bool(code.co_flags & CO_VARARGS))


def _takes_by_signature(f: FunctionType, arguments: Sequence[Any], *, is_collecting: bool) -> bool:
    signature = inspect.signature(f)
    try:
        bound = signature.bind(*arguments)
    except TypeError:
        return False
    collects = inspect.Parameter.VAR_POSITIONAL
    kinds = [signature.parameters[name].kind for name in bound.arguments]
    return is_collecting or collects not in kinds


def _is_installed(kind: type) -> bool:
    """Whether a class is one whose authors have seen to it that pickle does right by itself."""
    return is_everywhere(str(kind.__module__))


def _is_of_user(f: Any) -> TypeGuard[FunctionType]:
    return isinstance(f, FunctionType)


def _base_with(kind: type, name: str, *, is_built_in: bool = False) -> type:
    """The nearest base that has an attribute of its own; that isn't written in Python, maybe."""
    return next(
        base
        for base in kind.__mro__
        if name in vars(base) and not (is_built_in and _is_of_user(getattr(base, name)))
    )


def _base_that_reduces(kind: type) -> type:
    """The base that says how pickle makes the objects of a class."""
    names = ("__reduce_ex__", "__reduce__")
    return next(base for base in kind.__mro__ if any(name in vars(base) for name in names))


def _make(base: Any, calls_init: bool, kind: type, *arguments: Any) -> Any:
    made = base.__new__(kind) if base.__new__ is object.__new__ else base.__new__(kind, *arguments)
    if calls_init and base.__init__ is not object.__init__:
        base.__init__(made, *arguments)
    return made
