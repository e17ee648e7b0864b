"""Types of `ctypes` that no module has under a name: arrays, pointers and types of callbacks."""

from __future__ import annotations

import operator
import sys
from typing import Any, Final

__all__ = ["fill_c_type", "is_c_type", "is_field", "make_c_type", "reduce_c_type"]

_MODULE: Final = "_ctypes"
_FIELDS: Final = "_fields_"
_ORDERS: Final = ("__ctype_be__", "__ctype_le__")
"""Attributes of a simple type that are the same with the bytes in another order."""


def is_c_type(metaclass: type) -> bool:
    """Whether classes of a metaclass are types of C."""
    return any(base.__module__ == _MODULE for base in metaclass.__mro__)


def make_c_type(name: str, bases: tuple[type, ...], initial: dict[str, Any]) -> Any:
    """A type of C without fields; its metaclass, which no module has under a name, lays it out."""
    metaclass: Any = type(bases[0])
    return metaclass(name, bases, initial)


def is_field(value: Any) -> bool:
    """Whether a value is the field of a structure, which the class makes of `_fields_`."""
    kind = type(value)
    return kind.__name__ == "CField" and kind.__module__ in (_MODULE, "ctypes")  # from 3.14 on


def fill_c_type(cls: type, state: dict[str, Any]) -> None:
    """Set the attributes of a type of C: its fields last, as others say how these are laid out."""
    for name in sorted(state, key=_FIELDS.__eq__):
        setattr(cls, name, state[name])


def reduce_c_type(cls: Any) -> tuple[Any, ...] | None:
    """How pickle makes a type of C again that is made of others; None if it isn't such a type.

    Raises:
        TypeError: it is the type of a library's functions.
    """
    ctypes = sys.modules["ctypes"]
    kind = type(cls).__name__
    if kind == "PyCArrayType" and cls is cls._type_ * cls._length_:
        return operator.mul, (cls._type_, cls._length_)
    if kind == "PyCPointerType" and cls is ctypes.POINTER(cls._type_):
        return ctypes.POINTER, (cls._type_,)
    if kind == "PyCSimpleType":
        plain = getattr(ctypes, cls.__name__.removesuffix("_be").removesuffix("_le"), None)
        order = next((name for name in _ORDERS if getattr(plain, name, None) is cls), None)
        return None if order is None or plain is cls else (getattr, (plain, order))
    if kind == "PyCFuncPtrType":
        if not hasattr(cls, "_argtypes_"):
            raise TypeError(
                "a C library belongs to its process; load it in the function that calls it"
            )
        made = ctypes.CFUNCTYPE(cls._restype_, *cls._argtypes_)
        if cls is made:
            return ctypes.CFUNCTYPE, (cls._restype_, *cls._argtypes_)
    return None
