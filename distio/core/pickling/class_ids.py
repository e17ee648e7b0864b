"""Which class is which, wherever it goes: each is made once in a process.

A class has the number that the process gave it in which it was defined, and a version, which is
new when its attributes were set anew since it was last sent. So an edited class is another one for
those who get it afterwards; for the process that has defined it, all versions are the class itself.
"""

from __future__ import annotations

from enum import EnumMeta
from itertools import count
from typing import Any, Final, NamedTuple, final
from weakref import WeakValueDictionary, ref

__all__ = ["ClassId", "ClassIds"]

_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes)
_MOST_COMPARED: Final = 1_000
"""The largest container whose parts are compared; a larger one is only seen to be another."""


class ClassId(NamedTuple):
    """A class, among those of all processes."""

    token: bytes
    """The token of the process in which the class was defined."""
    number: int
    version: str


@final
class _Known:
    """The record of a class that was sent, or came."""

    __slots__ = ("alive", "changes", "id", "origin", "state")

    def __init__(self, id: ClassId, origin: Any, state: Any) -> None:
        self.id = id
        self.origin = origin
        """The namespace that its methods read; None for a class of this process."""
        self.state = state
        self.changes = 0
        self.alive: ref[type] | None = None
        """Forgets this record when the class is gone."""


@final
class ClassIds:
    """The classes by value that one process has sent or made."""

    def __init__(self, token: bytes) -> None:
        self.token = token
        self._numbers = count(1)
        self._known: dict[int, _Known] = {}
        """By the identity of a class: its metaclass may compare classes in another way."""
        self._own: WeakValueDictionary[int, type] = WeakValueDictionary()
        self._others: WeakValueDictionary[tuple[ClassId, Any], type] = WeakValueDictionary()
        """The classes of other processes, by id and by the namespace that their methods read."""

    def id_of(self, cls: type) -> ClassId:
        """The id of a class that is about to leave."""
        known = self._known.get(id(cls))
        state = _state_of(cls)
        if known is None:
            known = _Known(ClassId(self.token, next(self._numbers), ""), None, state)
            self._remember(cls, known)
            self._own[known.id.number] = cls
        elif known.state != state:
            known.changes += 1
            known.state = state
            version = f"{known.id.version.partition('+')[0]}+{self.token.hex()}.{known.changes}"
            known.id = known.id._replace(version=version)
            if known.origin is not None:
                self._others[known.id, known.origin] = cls
        return known.id

    def find(self, id: ClassId, origin: Any) -> type | None:
        """The class of this id whose methods read the namespace of this origin, if it is here."""
        if id.token == self.token and id.number in self._own:
            return self._own[id.number]
        return self._others.get((id, origin))

    def made(self, class_id: ClassId, origin: Any, cls: type) -> None:
        """A class that came is complete."""
        self._others[class_id, origin] = cls
        self._remember(cls, _Known(class_id, origin, _state_of(cls)))

    def _remember(self, cls: type, known: _Known) -> None:
        key = id(cls)
        known.alive = ref(cls, lambda _: self._known.pop(key, None))
        self._known[key] = known

    def hide(self, origin: Any) -> list[tuple[tuple[ClassId, Any], ref[type]]]:
        """Find classes that read this namespace no longer; returns what finds them again."""
        keys = [key for key in self._others if key[1] == origin]
        return [(key, ref(self._others.pop(key))) for key in keys]

    def show(self, hidden: list[tuple[tuple[ClassId, Any], ref[type]]]) -> None:
        """Find these again."""
        for key, each in hidden:
            cls = each()
            if cls is not None:
                self._others[key] = cls


def _state_of(cls: type) -> Any:
    """Tells whether attributes were set anew; what Python keeps in them for itself is left out."""
    if isinstance(cls, EnumMeta):
        return None
    return [
        (name, _mark_of(value))
        for name, value in vars(cls).items()
        if not (name.startswith("__") and name.endswith("__")) and not name.startswith("_abc_")
    ]


def _mark_of(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return kind, repr(value)  # nan is itself, and True is not 1
    if kind in (list, tuple, set, frozenset) and len(value) <= _MOST_COMPARED:
        return id(value), [id(part) for part in value]
    if kind is dict and len(value) <= _MOST_COMPARED:
        return id(value), [(id(key), id(part)) for key, part in value.items()]
    return id(value)
