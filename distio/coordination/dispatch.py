"""Typed dispatch: annotations say which method handles which type; imports check that all are.

>>> class Animal: ...
>>> class Cat(Animal): ...
>>> class Dog(Animal): ...
>>> class Zoo:
...     @handles
...     def feed_cat(self, cat: Cat) -> str:
...         return "fish"
>>> HandlerTable(handles, Animal, [Zoo])
Traceback (most recent call last):
    ...
TypeError: nobody handles Dog
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from types import FunctionType, UnionType
from typing import Any, Final, TypeVar, Union, final, get_args, get_origin

__all__ = ["HandlerTable", "Marker", "admits", "answers", "handles", "unchecked"]

F = TypeVar("F", bound=Callable[..., Any])


@final
class Marker:
    """A decorator for methods that handle what their last parameter is annotated with."""

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute

    def __call__(self, method: F) -> F:
        setattr(method, self._attribute, True)
        return method

    def methods_of(self, owner: type) -> list[Callable[..., Any]]:
        """The marked methods of a class, its own and inherited ones."""
        attributes: dict[str, Any] = {}
        for each in reversed(owner.__mro__):
            attributes.update(vars(each))
        return [
            method
            for method in attributes.values()
            if type(method) is FunctionType and self._attribute in vars(method)
        ]


handles: Final = Marker("__handles_message__")
"""Handles a message: of a member, in the coordinator; of the coordinator, in a member."""
admits: Final = Marker("__admits_message__")
"""Checks whether the member that sends a message can truthfully say it, before it is handled."""
unchecked: Final = Marker("__admits_all_messages__")
"""Stands at a method with `@handles` whose message needs no rule: nothing follows from it for other
members, or the method finds out itself from whom it can come."""
answers: Final = Marker("__answers_request__")
"""Answers a request of a fiber, or parks the fiber."""


@final
class HandlerTable:
    """By type, the method that handles it, and the class of that method.

    Args:
        marker: the decorator of these methods.
        base: its direct subclasses are to be handled.
        owners: the classes that have the methods.
        besides: types that other code handles, before this table is asked.
        is_complete: whether each other type is to be handled.

    Raises:
        TypeError: a type is handled by nobody, or by two methods.
    """

    def __init__(
        self,
        marker: Marker,
        base: type,
        owners: Sequence[type],
        *,
        besides: Sequence[type] = (),
        is_complete: bool = True,
    ) -> None:
        self._methods: dict[type, tuple[type, str]] = {}
        self._places: dict[tuple[type, ...], dict[type, tuple[int, str]]] = {}
        """By classes of owners: machines are made often, and of the same classes each time."""
        for owner in owners:
            for method in marker.methods_of(owner):
                for kind in _handled_by(method):
                    if not issubclass(kind, base):
                        raise TypeError(f"{method.__qualname__} handles no {base.__name__}")
                    if kind in self._methods or kind in besides:
                        raise TypeError(f"{kind.__name__} is handled twice")
                    self._methods[kind] = owner, method.__name__
        self.kinds: Final = frozenset(self._methods)
        """The types that are handled."""
        subclasses: list[type] = base.__subclasses__()
        missing = [each.__name__ for each in subclasses if each not in {*self.kinds, *besides}]
        if missing and is_complete:
            raise TypeError(f"nobody handles {', '.join(sorted(missing))}")

    def bind(self, owners: Sequence[object]) -> dict[type, Callable[..., Any]]:
        """The methods of these objects by type: one object for each class, or for a subclass.

        Returns:
            A dict that binds a method when `[]` looks it up for the first time.
        """
        return _Bound(self._places_in(owners), owners)

    def _places_in(self, owners: Sequence[object]) -> dict[type, tuple[int, str]]:
        """By type: which of these has the method, and its name."""
        classes = tuple(map(type, owners))
        places = self._places.get(classes)
        if places is None:
            places = self._places[classes] = {}
            for kind, (owner, name) in self._methods.items():
                (index,) = [n for n, each in enumerate(classes) if issubclass(each, owner)]
                places[kind] = index, name
        return places


class _Bound(dict[type, Callable[..., Any]]):
    """Methods of some objects by type: those that have been looked up."""

    __slots__ = ("_owners", "_places")

    def __init__(self, places: Mapping[type, tuple[int, str]], owners: Sequence[object]) -> None:
        super().__init__()
        self._places = places
        self._owners = owners

    def __missing__(self, kind: type) -> Callable[..., Any]:
        index, name = self._places[kind]
        method: Callable[..., Any] = getattr(self._owners[index], name)
        self[kind] = method
        return method


def _handled_by(method: Callable[..., Any]) -> list[type]:
    """The types that its last parameter is annotated with."""
    hint: Any = [hint for name, hint in method.__annotations__.items() if name != "return"][-1]
    if isinstance(hint, str):
        # only this one: others may name what is imported for type checkers alone; and not by eval:
        # each process that starts would compile hundreds of expressions that are dotted names
        return [_named(name, method.__globals__) for name in hint.split(" | ")]
    return list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]


def _named(name: str, namespace: Mapping[str, Any]) -> type:
    first, *rest = name.split(".")
    kind: type = reduce(getattr, rest, namespace[first])
    return kind
