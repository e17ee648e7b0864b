"""Classes by value: a bare class first, then what it holds, which may refer to the class."""

from __future__ import annotations

import abc
from enum import Enum
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final

from distio.core.pickling import enums
from distio.core.pickling.c_types import fill_c_type, is_c_type, is_field, make_c_type
from distio.core.pickling.class_ids import ClassId
from distio.core.pickling.spaces import class_being_made, class_known, class_made

if TYPE_CHECKING:
    from distio.core.pickling.pickler import Pickler

__all__ = ["OF_LINES", "names_in_class_body", "reduce_by_value", "text_hints_of_class"]

OF_LINES: Final = ("__firstlineno__", "__static_attributes__")
"""Names that Python sets in a class, from 3.13 on: its line, and names in varying order."""
_KEPT_BY_PYTHON: Final = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__orig_bases__",
        "__slots__",
        "__module__",
        "__qualname__",
        "_abc_impl",
        "_abc_registry",
        "_abc_cache",
        "_abc_negative_cache",
        "_abc_negative_cache_version",
        "__annotations_cache__",
        "__slotnames__",
    }
)
"""Attributes that a class gets when it is made, or has for Python alone."""


def reduce_by_value(pickler: Pickler, cls: type) -> tuple[Any, ...]:
    """How pickle makes a class again, or finds it where it is known."""
    pickler.scope.defines_classes = True
    home = pickler.scope.home_of(cls)
    initial: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    for name in ("__slots__", "__orig_bases__"):
        if name in vars(cls):
            initial[name] = vars(cls)[name]
    id = pickler.scope.space.classes.id_of(cls)
    index = None if home is None else home.index
    metaclass = None if is_c_type(type(cls)) else type(cls)
    arguments = id, index, metaclass, cls.__name__, cls.__bases__, initial
    if home is not None:
        home.need_for_hints(text_hints_of_class(cls), pickler.can_travel)
    return make, arguments, _state_of(cls), None, None, _set_state


def text_hints_of_class(cls: type) -> list[str]:
    """The annotations in the body of a class that are text."""
    hints = vars(cls).get("__annotations__", {})
    return [hint for hint in hints.values() if type(hint) is str] if type(hints) is dict else []


def _state_of(cls: type) -> dict[str, Any]:
    state = {
        name: value
        for name, value in vars(cls).items()
        if name not in _KEPT_BY_PYTHON and not _is_of_python(cls, value)
    }
    if isinstance(cls, abc.ABCMeta):
        registered = [ref() for ref in abc._get_dump(cls)[0]]  # type: ignore[attr-defined]  # there is no public way
        state["_registered"] = [each for each in registered if each is not None]
    if issubclass(cls, Enum):
        enums.separate_members(cls, state)
    return state


def names_in_class_body(names: dict[str, Any]) -> dict[str, Any]:
    """The names in the dict of a class that code evaluated late in its body may refer to."""
    return {
        name: value
        for name, value in names.items()
        if name not in _KEPT_BY_PYTHON
        and name not in OF_LINES
        and not isinstance(value, MemberDescriptorType | GetSetDescriptorType)
    }


def _is_of_python(cls: type, value: Any) -> bool:
    """Whether the value is the descriptor of a slot or field, which the class makes by itself."""
    is_descriptor = isinstance(value, MemberDescriptorType | GetSetDescriptorType)
    return is_field(value) or (is_descriptor and value.__objclass__ is cls)


# -- where it arrives -------------------------------------------------------------------------


_SILENT_MODULES: Final = frozenset({"builtins", "abc", "enum", "typing"})
"""Modules whose classes change nothing but the subclass when one is made."""


class _Silent:
    """Comes first among the bases of a class that is being made: nobody is told of it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Classes that keep a list of their subclasses were told where it was defined."""


class _SilentSlots:
    """The same for bases without a dict: the layout of a base can't be changed afterwards."""

    __slots__ = ()
    __init_subclass__ = vars(_Silent)["__init_subclass__"]


def make(
    id: ClassId,
    index: int | None,
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    initial: dict[str, Any],
) -> type:
    """A class that holds nothing yet; metaclasses of the user have had their say before."""
    known = class_known(id, index)
    if known is not None:
        return known
    cls = _made(metaclass, name, bases, initial)
    class_being_made(id, index, cls)
    return cls  # type: ignore[no-any-return]  # a metaclass makes it


def _made(metaclass: Any, name: str, bases: tuple[type, ...], initial: dict[str, Any]) -> Any:
    if metaclass is None:
        return make_c_type(name, bases, initial)
    new = abc.ABCMeta.__new__ if issubclass(metaclass, abc.ABCMeta) else type.__new__
    return _made_in_silence(new, metaclass, name, bases, initial)


def _made_in_silence(
    new: Any, metaclass: Any, name: str, bases: tuple[type, ...], initial: dict[str, Any]
) -> Any:
    if any(_is_told_of_subclasses(base) for base in bases):
        for silent in (_Silent, _SilentSlots):
            try:
                cls = new(metaclass, name, (silent, *bases), initial)
                cls.__bases__ = bases
            except TypeError:  # they have a layout of their own
                continue
            return cls
    return new(metaclass, name, bases, initial)


def _is_told_of_subclasses(base: type) -> bool:
    return any(
        "__init_subclass__" in vars(each) and each.__module__ not in _SILENT_MODULES
        for each in base.__mro__
    )


def _set_state(cls: type, state: dict[str, Any]) -> None:
    if not class_made(cls):
        return  # it was here already, and stays as it is
    registered = state.pop("_registered", ())
    members = state.pop(enums.MEMBERS, None)
    if is_c_type(type(cls)):
        fill_c_type(cls, state)
    else:
        for name, value in state.items():
            type.__setattr__(cls, name, value)
    if members is not None:
        enums.set_members(cls, members)
    for each in registered:
        abc.ABCMeta.register(cls, each)  # type: ignore[arg-type]  # it is one
