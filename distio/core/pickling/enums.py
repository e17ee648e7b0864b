"""Enums by value: members are made again as they are, without calling what had made them."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from typing import Any, Final

__all__ = ["MEMBERS", "reduce_member", "separate_members", "set_members"]

MEMBERS: Final = "_distio_members"
"""The key under which the state of a class has its members."""

_DATA_TYPES: Final[tuple[type, ...]] = (bool, int, float, complex, str, bytes, tuple)

Members = list[tuple[str, Any, dict[str, Any]]]


def reduce_member(member: Enum) -> tuple[Any, ...]:
    """How pickle finds a member of a class by value: by name, or if it has none by value."""
    cls: Any = type(member)
    name = member._name_
    if cls._member_map_.get(name) is member:
        return _member, (cls, name)
    return cls, (member._value_,)


def _member(cls: Any, name: str) -> Any:
    return cls._member_map_[name]


def separate_members(cls: Any, state: dict[str, Any]) -> None:
    """Put the members of a class into its state as plain data, and all else of them out of it."""
    names: dict[int, str] = {}
    members: Members = []
    aliases: dict[str, str] = {}
    for name, member in cls._member_map_.items():
        if id(member) in names:
            aliases[name] = names[id(member)]
            continue
        names[id(member)] = name
        held = {key: value for key, value in vars(member).items() if key != "__objclass__"}
        members.append((name, _data_of(member), held))
    for name in ("_member_map_", "_value2member_map_", "_member_names_", *cls._member_map_):
        state.pop(name, None)
    state[MEMBERS] = members, aliases, list(cls._member_names_)


def _data_of(member: Any) -> Any:
    """The int, str, … that a member is; None if it is an object like others."""
    for kind in _DATA_TYPES:
        if isinstance(member, kind):
            return kind.__new__(kind, member) if kind is not str else str.__str__(member)
    return None


def set_members(cls: Any, state: tuple[Members, dict[str, str], list[str]]) -> None:
    """Make the members again, and enter them wherever an Enum looks for them."""
    members, aliases, in_order = state
    made: dict[str, Any] = {}
    for name, data, held in members:
        kind: Any = object if data is None else type(data)
        member = kind.__new__(cls) if data is None else kind.__new__(cls, data)
        member.__dict__.update(held)
        member.__dict__["__objclass__"] = cls
        made[name] = member
    for alias, name in aliases.items():
        made[alias] = made[name]
    by_value: dict[Any, Any] = {}
    for name, member in made.items():
        type.__setattr__(cls, name, member)
        with suppress(TypeError):  # a value that can't be hashed is looked for in another way
            by_value.setdefault(member._value_, member)
    type.__setattr__(cls, "_member_map_", made)
    type.__setattr__(cls, "_member_names_", in_order)
    type.__setattr__(cls, "_value2member_map_", by_value)
