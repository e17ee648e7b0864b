"""A hook of features, and which of them have a say in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, final

__all__ = ["Hook"]

F = TypeVar("F")
P = ParamSpec("P")
R = TypeVar("R")


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
    >>> class Hooks:
    ...     hook = Hook(Base.hook)
    ...     features = [Base(), Feature()]
    >>> [hook() for hook in Hooks().hook]
    ['has a say']
    """

    def __init__(self, hook: Callable[Concatenate[F, P], R]) -> None:
        self._hook = hook
        self._name = hook.__name__
        self._indices: dict[tuple[type, ...], list[int]] = {}
        """By classes of features: which of them override it."""

    def __get__(self, hooks: Any, owner: type) -> tuple[Callable[P, R], ...]:
        features: Sequence[F] = hooks.features
        classes = tuple(map(type, features))
        indices = self._indices.get(classes)
        if indices is None:
            theirs = [getattr(each, self._name) for each in classes]
            indices = [n for n, each in enumerate(theirs) if each is not self._hook]
            self._indices[classes] = indices
        bound = tuple([getattr(features[index], self._name) for index in indices])
        hooks.__dict__[self._name] = bound  # which is found from now on
        return bound
