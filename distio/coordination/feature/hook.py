"""A hook of features, and which of them have a say in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, final

__all__ = ["Hook", "HookTable"]

F = TypeVar("F")
P = ParamSpec("P")
R = TypeVar("R")


class HookTable:
    """Base of classes of hooks.

    Args:
        features: all features of a machine, in the order in which their hooks are called.
    """

    def __init__(self, features: Sequence[Any]) -> None:
        self.features = features
        self.classes = tuple(map(type, features))
        """The classes of the features, which are the same in nearly all machines."""


@final
class Hook(Generic[F, P, R]):
    """Stands, in a class of hooks, for the methods that override one that does nothing.

    It is bound when it is used for the first time: machines are made often, and most of them never
    use most of their hooks.

    Args:
        hook: the method of the base class of features.

    >>> class Base:
    ...     def hook(self) -> str: ...
    >>> class Feature(Base):
    ...     def hook(self) -> str:
    ...         return "has a say"
    >>> class Hooks(HookTable):
    ...     hook = Hook(Base.hook)
    >>> [hook() for hook in Hooks([Base(), Feature()]).hook]
    ['has a say']
    """

    def __init__(self, hook: Callable[Concatenate[F, P], R]) -> None:
        self._hook = hook
        self._name = hook.__name__
        self._indices: dict[tuple[type, ...], list[int]] = {}
        """By classes of features: which of them override it."""

    def __get__(self, hooks: HookTable, owner: type) -> tuple[Callable[P, R], ...]:
        indices = self._indices.get(hooks.classes)
        if indices is None:
            indices = self._find(hooks.classes)
        overriding = map(hooks.features.__getitem__, indices)
        bound = tuple(map(getattr, overriding, repeat(self._name)))
        hooks.__dict__[self._name] = bound  # which is found from now on
        return bound

    def _find(self, classes: tuple[type, ...]) -> list[int]:
        theirs = [getattr(each, self._name) for each in classes]
        indices = [n for n, each in enumerate(theirs) if each is not self._hook]
        self._indices[classes] = indices
        return indices
